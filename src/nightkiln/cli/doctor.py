"""`nightkiln doctor`: is this machine ready, and what would mend it."""

import sys

import click

from nightkiln.cli.setting import (
    home,
    home_option,
    json_option,
    no_color_option,
    print_json,
    settings,
)

_WORDS = {True: "ok", None: "warn", False: "FAIL"}
_COLOURS = {True: "green", None: "yellow", False: "red"}


@click.command()
@json_option
@no_color_option
@home_option
def doctor(as_json: bool, no_color: bool) -> int:
    """Check that this machine is ready: Python, disk, locks, the home.

    Nothing is sent anywhere. Ends with 1 when something would stop a run.
    """
    import msgspec

    from nightkiln.cli.terminal import terminal
    from nightkiln.service.checkup import checkup

    findings = checkup(home(), named_by=settings().origin("home").words)
    failed = sum(finding.ok is False for finding in findings)
    if as_json:
        records = [
            {"status": _WORDS[one.ok].lower(), **msgspec.structs.asdict(one)} for one in findings
        ]
        print_json({"ready": not failed, "findings": records})
        return 1 if failed else 0
    shown = terminal(sys.stdout, no_color=no_color or settings().no_color)
    for one in findings:
        word = shown.coloured(f"{_WORDS[one.ok]:<4}", _COLOURS[one.ok])
        print(f"{word}  {one.name:<13} {shown.plain(one.detail)}")
        if one.fix:
            print(f"      {'':<13} fix: {shown.plain(one.fix)}")
    print(f"{failed} things would stop a run" if failed else "ready")
    return 1 if failed else 0
