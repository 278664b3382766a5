"""`nightkiln explain CODE`: what an error or a class of fault means, and what to do."""

from typing import TYPE_CHECKING

import click

from nightkiln.cli.setting import json_option, print_json

if TYPE_CHECKING:
    from nightkiln.core.explain import ErrorText, FaultText


@click.command()
@click.argument("code", required=False)
@json_option
def explain(code: str | None, as_json: bool) -> int:
    """Say what CODE means: an error (E_QUOTA) or a fault of a row (throttle).

    Without CODE it lists all there are.
    """
    from nightkiln.core.explain import codes

    if code is None:
        listed = [(known, _first_line(known)) for known in codes()]
        if as_json:
            print_json({"codes": dict(listed)})
        else:
            width = max(len(known) for known, _ in listed)
            print("\n".join(f"{known:<{width}}  {line}" for known, line in listed))
        return 0
    known = _known(code)
    if as_json:
        print_json(_record(known))
    else:
        print(text_of(known))
    return 0


def text_of(code: str) -> str:
    """The explanation of a code that exists."""
    from nightkiln.core.explain import FAULTS, error_text
    from nightkiln.core.fault import FaultClass

    error = error_text(code)
    if error is not None:
        lines = [f"{code} (exit code {error.exit_code})", ""]
        return "\n".join(lines + [f"  {line}".rstrip() for line in error.text.splitlines()])
    words = FAULTS[FaultClass(code)]
    return "\n".join(
        [
            f"{code} (a fault of a row)",
            "",
            f"  what happened   {words.meaning}",
            f"  the row         {words.row}",
            f"  what to do      {words.fix}",
        ]
    )


def _record(code: str) -> "FaultText | ErrorText":
    from nightkiln.core.explain import FAULTS, error_text
    from nightkiln.core.fault import FaultClass

    return error_text(code) or FAULTS[FaultClass(code)]


def _known(code: str) -> str:
    from nightkiln.core.errors import UsageError
    from nightkiln.core.explain import codes

    known = {name.lower(): name for name in codes()}
    for guess in (code.lower(), f"e_{code.lower()}"):
        if guess in known:
            return known[guess]
    from difflib import get_close_matches

    near = get_close_matches(code.lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {known[near[0]]}?" if near else "nightkiln explain lists all codes"
    raise UsageError(f"there is no code {code!r}", hint=hint)


def _first_line(code: str) -> str:
    lines = text_of(code).splitlines()
    return lines[2].strip().removeprefix("what happened").strip()
