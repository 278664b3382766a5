"""The command `nightkiln`: its verbs by name, and the one place where errors end.

Nothing heavy is imported before a verb is known; help imports no verb at all.
"""

import io
import os
import sys
from collections.abc import Sequence

import click

from nightkiln._version import __version__
from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import home_option

_VERBS = holding(
    run=Verb("nightkiln.cli.run:run", "Answer a table of prompts; repeat it to go on."),
    estimate=Verb("nightkiln.cli.estimate:estimate", "Say what a table will take; send nothing."),
    jobs=Verb("nightkiln.cli.jobs:jobs", "List, show, pause, resume, retry, export jobs and more."),
    serve=Verb("nightkiln.cli.serve:serve", "Run the server: batch APIs for existing clients."),
    keys=Verb("nightkiln.cli.keys:keys", "Make, list, rotate and revoke the server's API keys."),
    cache=Verb("nightkiln.cli.cache:cache", "Show or clear the answers kept for identical rows."),
    config=Verb("nightkiln.cli.config:config", "Show the settings and where each comes from."),
    simulate=Verb("nightkiln.cli.simulate:simulate", "Run a simulated provider to plan with."),
    doctor=Verb("nightkiln.cli.doctor:doctor", "Check that this machine is ready."),
    explain=Verb("nightkiln.cli.explain:explain", "Say what an error or fault code means."),
)


@click.group(
    cls=_VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Run `nightkiln COMMAND --help` for its options. "
    "Exit codes: 0 all rows answered, 2 usage, 3 finished with row errors, 4 failed, "
    "5 credential, 6 quota, 7 not found, 8 unreachable, 9 waited long enough.",
)
@click.version_option(__version__, prog_name="nightkiln", message="%(prog)s %(version)s")
@home_option
def cli() -> None:
    """A table of prompts in, a table of answers out.

    Every row is answered once and in order. After a crash or Ctrl-C run the
    same command again: answers already there are kept and cost nothing.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Prints every error; raises none."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no data ends on an odd character
    code = _guarded(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    return code


def _guarded(arguments: list[str]) -> int:
    """Every way to end as an exit code: the one top-level boundary of the command."""
    try:
        return _invoked(arguments)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_gone():
            _forget_stdout()
            return 0  # whoever reads has enough, as in `| head`
        from nightkiln.cli.trouble import report

        return report(error, as_json="--json" in arguments, debug=_wants_traceback())


def _invoked(arguments: list[str]) -> int:
    # Not `cli.main`: it turns Ctrl-C and closed pipes into ends of its own.
    try:
        with cli.make_context("nightkiln", arguments) as context:
            context.meta["nightkiln.arguments"] = tuple(arguments)
            answer = cli.invoke(context)
    except click.exceptions.NoArgsIsHelpError as bare:
        return _helped(bare)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return 130
    return answer if isinstance(answer, int) else 0


def _helped(bare: click.exceptions.NoArgsIsHelpError) -> int:
    """Print the help of a group that was named alone: asked for by `nightkiln`, missed by others.

    The command by itself is a question, so its help is the answer; `nightkiln jobs` lacks
    a verb, which is an error in whatever script it stands.
    """
    is_question = bare.ctx is not None and bare.ctx.parent is None
    print(bare.format_message(), file=sys.stdout if is_question else sys.stderr)
    return 0 if is_question else bare.exit_code


def _wants_traceback() -> bool:
    from nightkiln.config import wants_debug

    return wants_debug(os.environ)


def _stdout_is_gone() -> bool:
    """True when standard output is a pipe that nobody reads any more."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(flags & (select.POLLERR | select.POLLHUP) for _, flags in poll.poll(0))
    except (OSError, ValueError):
        return True


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, so that leaving makes no noise."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
