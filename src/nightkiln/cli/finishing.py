"""The end of an attached run on the screen, and its exit code; what a trial leads to."""

import os
import sys
from typing import TYPE_CHECKING

import click

from nightkiln.cli.setting import print_json, run_async, settings

if TYPE_CHECKING:
    from nightkiln.cli.attached import Attached
    from nightkiln.cli.options import Allowance
    from nightkiln.cli.terminal import Terminal
    from nightkiln.core.events import Ended
    from nightkiln.core.forecast import Trial
    from nightkiln.service.manner import Changes

QUESTION = "Ask the rest?"


class Screen:
    """How a command talks: to whom, how much, and whether as JSON."""

    def __init__(
        self, shown: "Terminal", allowance: "Allowance", *, quiet: bool, as_json: bool, yes: bool
    ) -> None:
        self.shown = shown
        self.allowance = allowance
        self.quiet = quiet
        self.as_json = as_json
        self.yes = yes

    def attached(self) -> "Attached":
        """A run attached to this screen."""
        from nightkiln.cli.attached import Attached

        return Attached(self.shown, quiet=self.quiet or self.as_json)

    def finish(
        self, ended: "Ended", *, signal_code: int | None, again: str, model: str, to_stderr: bool
    ) -> int:
        """Say how a run ended; the exit code."""
        from nightkiln.cli.summary import exit_code_of, report_of, summary_of

        code = exit_code_of(ended, self.allowance, signal_code=signal_code)
        if self.as_json:
            print_json(report_of(ended, exit_code=code), to_stderr=to_stderr)
        elif not self.quiet:
            self.shown.say(summary_of(ended, model=model, again=again))
        return code

    def resume(
        self, job: str, changes: "Changes", *, model: str, to_stderr: bool, paid: int = 0
    ) -> int:
        """Go on with a job here and now; the exit code.

        `paid` rows were asked by this same command before, so nothing is saved on them.
        """
        import msgspec

        attached = self.attached()
        ended = run_async(attached.resume(job, changes, settings(), environ=os.environ))
        ended = msgspec.structs.replace(ended, reused=max(0, ended.reused - paid))
        return self.finish(
            ended,
            signal_code=attached.signal_code,
            again=resume_line(ended.job),
            model=model,
            to_stderr=to_stderr or ended.output == "-",
        )

    def goes_on(self, trial: "Trial", *, to_stderr: bool) -> bool:
        """Show what was tried; True when the rest may be asked."""
        from nightkiln.cli.forecasttext import trial_text

        if not self.as_json:
            self.shown.say(trial_text(trial))
        if self.yes:
            return True
        if not self.as_json and sys.stdin.isatty() and sys.stderr.isatty():
            if click.confirm(QUESTION, default=False, err=True):
                return True
        elif self.as_json:
            print_json(trial, to_stderr=to_stderr)
        self.shown.say(
            f"nothing more is asked; the {len(trial.tried)} answers are kept"
            f"\n  next: {resume_line(trial.job)}"
        )
        return False


def resume_line(job: str) -> str:
    """The command that goes on with a job."""
    return f"nightkiln jobs resume {job}"
