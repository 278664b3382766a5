"""Jobs as a person sees them in Python: a card in a notebook, a line that changes elsewhere.

A notebook is told by the shell that is running, never by importing one. Every
text of the user's is escaped. Without a terminal or a notebook nothing is drawn.
"""

import html
import shutil
import sys
import time
from importlib import import_module
from typing import Any, Final, Protocol

import msgspec

from nightkiln.core.events import JobView, Planned, Progressed
from nightkiln.core.usage import NANOS_PER_USD, Totals

REDRAW_S: Final = 0.25
_BAR: Final = 24


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job as `list_jobs` and `status` tell of it."""

    id: str
    name: str
    description: str
    priority: int
    status: str  # a state, or `interrupted` when it should run and nobody runs it
    reason: str
    rows: int  # 0 while they are not counted
    ok: int
    failed: int
    model: str
    input: str
    created_at: float  # epoch seconds
    cost_usd: float | None  # None: no price is known

    @property
    def is_over(self) -> bool:
        """True when the results are there, or never will be."""
        return self.status in _OVER


_OVER: Final = ("succeeded", "completed_with_errors", "cancelled", "expired", "failed")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is at one moment."""

    job: str
    phase: str  # validating, running, finalizing, or the state it ended in
    rows: int  # while validating: rows read so far
    ok: int
    failed: int
    rows_per_s: float
    tokens_per_s: float
    cost_usd: float | None  # None: no price is known
    waiting: str  # why nothing moves, if nothing does

    @property
    def answered(self) -> int:
        """Rows that have an answer or a fault."""
        return self.ok + self.failed

    @property
    def share(self) -> float:
        """The answered share of the rows, from 0 to 1; 0 while they are not counted."""
        if not self.rows or self.phase == "validating":
            return 0.0
        return min(1.0, self.answered / self.rows)


def info_of(view: JobView) -> JobInfo:
    """A job for people."""
    job, label = view.job, view.job.spec.label
    totals = _newest(view)
    return JobInfo(
        id=job.id,
        name=label.name,
        description=label.description,
        priority=label.priority,
        status=view.standing,
        reason=job.reason,
        rows=job.rows,
        ok=totals.ok,
        failed=totals.failed,
        model=job.spec.model,
        input=job.spec.source.name,
        created_at=job.created_at,
        cost_usd=_usd(job.spent.with_newer(job.totals, totals)),
    )


def _usd(spent: Totals) -> float | None:
    """Dollars; None where no answer has a price, which is not the 0 of an engine of ours."""
    unknown = spent.unpriced and not spent.cost_nanos
    return None if unknown else spent.cost_nanos / NANOS_PER_USD


def _newest(view: JobView) -> Totals:
    live = None if view.job.state.is_terminal else view.job.live
    if live is None or live.totals.answered < view.job.totals.answered:
        return view.job.totals
    return live.totals


def progress_of(told: Progressed) -> Progress:
    """What a run told, flat."""
    live = told.live
    return Progress(
        job=told.job,
        phase=told.phase,
        rows=told.rows,
        ok=live.totals.ok,
        failed=live.totals.failed,
        rows_per_s=live.rows_per_s,
        tokens_per_s=live.tokens_per_s,
        cost_usd=_usd(live.totals),
        waiting=live.waiting,
    )


def line_of(progress: Progress) -> str:
    """Progress in a line."""
    if progress.phase == "validating":
        return f"{progress.job} validating, {progress.rows:,} rows read"
    parts = [
        f"{progress.job} {progress.phase.replace('_', ' ')} {progress.share:.0%}",
        f"{progress.answered:,}/{progress.rows:,} rows",
    ]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.waiting:
        return " · ".join([*parts, f"waiting: {progress.waiting}"])
    if progress.rows_per_s:
        parts.append(f"{progress.rows_per_s:,.1f} rows/s")
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:,.4f}")
    return " · ".join(parts)


def card_of(info: JobInfo) -> str:
    """A job as a small block of HTML, every text in it escaped."""
    done = info.ok + info.failed
    title = html.escape(info.name or info.id)
    cost = "" if not info.cost_usd else f" · ${info.cost_usd:,.4f}"
    failed = f" · {info.failed:,} failed" if info.failed else ""
    status = html.escape(info.status.replace("_", " "))
    reason = f" ({html.escape(info.reason)})" if info.reason else ""
    return (
        '<div style="border:1px solid #8888;border-radius:6px;padding:.6em .9em;max-width:36em">'
        f"<b>{title}</b> &nbsp;{status}{reason}<br>"
        f'<progress value="{done}" max="{max(1, info.rows)}" style="width:100%"></progress><br>'
        f"{done:,} of {info.rows:,} rows{failed}{cost}<br>"
        f"<small><code>{html.escape(info.id)}</code> · {html.escape(info.model)}"
        f" · {html.escape(info.input)}</small></div>"
    )


def plan_line(planned: Planned) -> str:
    """What a submission would do, in a line."""
    reused = f", {planned.reused:,} are answered already" if planned.reused else ""
    job = f", goes on with job {planned.job}" if planned.job else ", a new job"
    return (
        f"dry run: {planned.rows:,} rows through model {planned.model} at {planned.backend}{job}"
        f"{reused}; nothing was sent. First prompt: {planned.prompt_sample!r}"
    )


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None:
        """Show how far a job is; called as often as one likes."""
        ...

    def close(self) -> None:
        """The wait is over."""
        ...


def display() -> Display:
    """The display for where we are: a notebook, a terminal, or none."""
    shell = _shell()
    if shell is not None and hasattr(shell, "kernel"):
        return _Notebook()
    if sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty():
        return _Terminal()
    return _Nothing()


def _shell() -> Any:
    module = sys.modules.get("IPython")
    find = getattr(module, "get_ipython", None)
    return None if find is None else find()


class _Nothing:
    def show(self, progress: Progress) -> None:
        pass

    def close(self) -> None:
        pass


class _Terminal:
    def __init__(self) -> None:
        self._shown_at = float("-inf")

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at >= REDRAW_S:
            self._shown_at = now
            room = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{_plain(line_of(progress))[:room]}")
            sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def _plain(text: str) -> str:
    """Without characters that would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


class _Notebook:
    """One output that is updated in place, by the messages of the running kernel."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = float("-inf")
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        self._last = progress
        now = time.monotonic()
        if now - self._shown_at >= REDRAW_S:
            self._shown_at = now
            self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        shown = _Line(progress)
        if self._handle is None:
            shows = import_module("IPython.display")
            self._handle = shows.display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def close(self) -> None:
        if self._last is not None:
            self._draw(self._last)


class _Line:
    """Progress as a notebook shows it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __repr__(self) -> str:
        return line_of(self._progress)

    def _repr_html_(self) -> str:
        filled = round(self._progress.share * _BAR)
        bar = "▓" * filled + "░" * (_BAR - filled)
        return f"<code>{bar}</code> {html.escape(line_of(self._progress))}"
