"""Errors as people read them: what happened, what to do, where to read more.

Never a traceback unless it is asked for, and never the text of a prompt or a key.
"""

import sys
import traceback
from typing import Final

import click
import msgspec

from nightkiln.cli.terminal import terminal
from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.wire.redact import excerpt

DEBUG_HINT: Final = "this is a bug of nightkiln; run again with NIGHTKILN_DEBUG=1 and report it"


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error in the words of a face."""

    code: str
    message: str
    fix: str = ""
    exit_code: int

    def text(self) -> str:
        """Up to three lines for a person."""
        lines = [f"error {self.code}: {self.message}"]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        lines.append(f"  more: nightkiln explain {self.code}")
        return "\n".join(lines)


class _Envelope(msgspec.Struct, frozen=True):
    error: Trouble


def trouble_of(error: Exception) -> Trouble:
    """The words for an error; one that is not ours becomes E_INTERNAL."""
    if isinstance(error, NightkilnError):
        return Trouble(
            code=error.code, message=error.message, fix=error.hint, exit_code=error.exit_code
        )
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        message, _, more = error.format_message().partition("\n")
        help_line = f"{path} --help shows the options" if path else ""
        return Trouble(
            code=UsageError.code,
            message=message,
            fix=more.replace("\n", " ") or help_line,
            exit_code=error.exit_code if isinstance(error, click.UsageError) else 2,
        )
    what = excerpt(str(error)) or "no message"
    return Trouble(
        code=NightkilnError.code,
        message=f"{type(error).__name__}: {what}",
        fix=DEBUG_HINT,
        exit_code=NightkilnError.exit_code,
    )


def report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Print an error on standard error and return the exit code it asks for."""
    trouble = trouble_of(error)
    if debug:
        traceback.print_exception(error)
    if as_json:
        print(msgspec.json.encode(_Envelope(trouble)).decode(), file=sys.stderr, flush=True)
    else:
        terminal(sys.stderr).say(trouble.text())
    return trouble.exit_code
