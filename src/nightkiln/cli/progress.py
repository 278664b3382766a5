"""The progress of a run on standard error: one changing line on a terminal, plain lines elsewhere.

Rates come from the runner; nothing here measures one. A time of arrival is said
only when it can be half right: after 30 seconds and one percent.
"""

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from nightkiln.cli.numbers import clock_time, count, dollars_of, money, short, span
from nightkiln.cli.terminal import Terminal
from nightkiln.core.events import Noticed, Opened, Opening, Progressed
from nightkiln.core.usage import NANOS_PER_USD

REDRAW_S: Final = 0.1  # at most ten times a second
PLAIN_S: Final = 30.0
PLAIN_STEP: Final = 5  # percent
PLAIN_LEAST_S: Final = 1.0  # between two steps; a quick job need not fill a log
ETA_AFTER_S: Final = 30.0
ETA_AFTER_SHARE: Final = 0.01
BAR: Final = 12


class Part(NamedTuple):
    """A part of the line; where there is no room, the lowest ranks go first."""

    text: str
    colour: str = ""
    rank: int = 9
    joined: bool = False  # follows its neighbour with a space instead of a dot


class Progress:
    """Hears what a run tells and shows it. Call it with every event; `close` at the end."""

    def __init__(self, terminal: Terminal, *, clock: Callable[[], float] = time.time) -> None:
        self._terminal = terminal
        self._clock = clock
        self._reused = 0
        self._since: float | None = None  # when rows began to be asked
        self._shown_at = float("-inf")
        self._reasons: set[str] = set()  # why it waited, so far
        self._shown: tuple[str, int, str] = ("", -1, "")  # phase, step, reason of waiting

    def __call__(self, event: Opened | Progressed | Noticed) -> None:
        """Show one event."""
        if isinstance(event, Opened):
            self._reused = event.reused
            self._terminal.say(opening_line(event))
        elif isinstance(event, Noticed):
            self._terminal.say(f"note: {event.text}")
        else:
            self._progressed(event)

    def _is_due(self, since_s: float, seen: tuple[str, int, str]) -> bool:
        if self._terminal.is_tty:
            return since_s >= REDRAW_S
        phase, step, waiting = self._shown
        if seen[0] != phase or since_s >= PLAIN_S or self._is_news(seen[2]):
            return True
        moved = seen[1] != step or _reason(seen[2]) != _reason(waiting)
        return moved and since_s >= PLAIN_LEAST_S

    def _is_news(self, waiting: str) -> bool:
        """True for a reason that this run has not given yet; those that come and go are no news."""
        reason = _reason(waiting)
        known = not reason or reason in self._reasons
        self._reasons.add(reason)
        return not known

    def close(self) -> None:
        """Take the changing line away."""
        self._terminal.clear()

    def _progressed(self, event: Progressed) -> None:
        now = self._clock()
        if self._since is None and event.phase == "running":
            self._since = now
        elapsed = 0.0 if self._since is None else now - self._since
        step = int(share_of(event) * 100) // PLAIN_STEP
        seen = (event.phase, step, event.live.waiting)
        if not self._is_due(now - self._shown_at, seen):
            return
        parts = parts_of(event, now=now, elapsed_s=elapsed, reused=self._reused)
        self._shown_at, self._shown = now, seen
        if self._terminal.is_tty:
            self._terminal.draw(fitted(parts, self._terminal.width - 1, self._terminal.plain))
        else:
            plain = [part for part in parts if not part.text.startswith(("▓", "░"))]
            self._terminal.say("".join(text for text, _ in _strung(plain)))


def _reason(waiting: str) -> str:
    """A waiting reason without its numbers, which count down."""
    return re.sub(r"[0-9]+", "", waiting)


def opening_line(event: Opened) -> str:
    """How a submission met what was already there, in a line."""
    # Answers in a journal are not counted yet when a job opens, so none is no number to say.
    some = f"{count(event.reused)} rows answered before are kept, $0"
    kept = some if event.reused else "answers it has are kept, $0"
    match event.how:
        case Opening.NEW:
            return f"job {event.job} is new"
        case Opening.ATTACHED:
            return f"job {event.job} goes on; {kept}"
        case Opening.CONTINUED:
            return f"job {event.job} had ended early; a new generation begins; {kept}"
        case Opening.FINISHED:
            return (
                f"job {event.job} has answered all of this before: nothing is asked, $0"
                " (--new asks everything again)"
            )
        case Opening.WITH_ERRORS:
            return (
                f"job {event.job} has finished before, with row errors: nothing is asked, $0"
                f" (nightkiln jobs retry {event.job} opens the failed rows again)"
            )
        case Opening.WATCHING:
            return f"another process runs job {event.job}: watching it"


def share_of(event: Progressed) -> float:
    """The answered share of the rows; 0 while their number is not known."""
    if event.phase == "validating" or not event.rows:
        return 0.0
    return min(1.0, event.live.totals.answered / event.rows)


def parts_of(event: Progressed, *, now: float, elapsed_s: float, reused: int) -> list[Part]:
    """The parts of the line, in order."""
    if event.phase == "validating":
        return [Part("validating"), Part(f"{short(event.rows)} rows read", joined=True)]
    totals, share = event.live.totals, share_of(event)
    filled = int(share * BAR)
    parts = [
        Part(event.phase, "bold"),
        Part("▓" * filled + "░" * (BAR - filled), rank=3, joined=True),
        Part(f"{int(share * 100)} %", joined=True),
        Part(f"{short(totals.answered)}/{short(event.rows)} rows", rank=8, joined=True),
        Part(f"✓{short(totals.ok)}", "green", rank=7),
    ]
    if totals.truncated:
        parts.append(Part(f"!{short(totals.truncated)}", "yellow", rank=7, joined=True))
    if totals.failed:
        parts.append(Part(f"✗{short(totals.failed)}", "red", rank=7, joined=True))
    if event.live.backends > 1:
        down = f" ({event.live.down} down)" if event.live.down else ""
        colour = "yellow" if down else ""
        parts.append(Part(f"{event.live.backends} backends{down}", colour, rank=3))
    if event.live.waiting:
        return [*parts, Part(f"waiting: {event.live.waiting}", "yellow")]
    if event.live.rows_per_s:
        parts.append(Part(f"{short(event.live.rows_per_s)} rows/s", rank=5))
    if event.live.tokens_per_s:
        parts.append(Part(f"{short(event.live.tokens_per_s)} tok/s", rank=2))
    parts += _cost(event, share)
    left = eta_s(event, elapsed_s=elapsed_s, reused=reused)
    if left is not None:
        parts.append(Part(f"ETA {clock_time(now + left)} (in {span(left)})", rank=6))
    return parts


def eta_s(event: Progressed, *, elapsed_s: float, reused: int) -> float | None:
    """Seconds to the last row, or None while that would be a guess."""
    done, todo = event.live.totals.answered - reused, event.rows - reused
    if elapsed_s < ETA_AFTER_S or todo <= 0 or done / todo < ETA_AFTER_SHARE:
        return None
    if event.phase != "running" or event.live.rows_per_s <= 0:
        return None
    return (todo - done) / event.live.rows_per_s


def fitted(parts: list[Part], room: int, plain: Callable[[str], str]) -> list[tuple[str, str]]:
    """The line as pieces of (text, colour), without the parts there is no room for."""
    kept = list(parts)
    while sum(len(plain(text)) for text, _ in _strung(kept)) > room:
        lowest = min(kept, key=lambda part: part.rank)
        if lowest.rank >= Part("").rank:
            break  # what is left matters more than its end
        kept.remove(lowest)
    return _strung(kept)


def _strung(parts: list[Part]) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for part in parts:
        if pieces:
            pieces.append((" " if part.joined else " · ", ""))
        pieces.append((part.text, part.colour))
    return pieces


def _cost(event: Progressed, share: float) -> list[Part]:
    totals = event.live.totals
    spent = dollars_of(totals)
    if not spent:
        return []
    whole = totals.cost_nanos / NANOS_PER_USD / share if share >= ETA_AFTER_SHARE else None
    of = "" if whole is None or share >= 1 else f" of ~{money(whole)}"
    return [Part(f"{money(spent)}{of}", rank=4)]
