"""The settings in which the others look best, each beside nightkiln in the same setting.

A hundred rows, where starting up is most of the work; answers that take two
seconds with sixteen at once, where everybody waits; and `AsyncOpenAI` with all
the tuning that its documentation offers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.peers.comparison import SHORT, Result, Setting
from bench.peers.environments import Missing, environment
from bench.peers.phases import Contender, Driven, Run, finish
from bench.peers.roster import TUNED
from bench.processes import BenchError
from bench.servers import Server

SLOW_MS, SLOW_SLOTS, SLOW_ROWS = 2_000, 16, 48
_UNABLE = ("sequential loop", "Ray Data")  # these cannot have sixteen requests in flight

Say = Callable[[str], None]


def one_shot(ours: Result, peers: Sequence[Result]) -> list[Setting]:
    """From runs that were made anyway."""
    if ours.short is None:
        return []
    return [
        Setting(
            setting=f"{SHORT} rows, the whole command",
            title=peer.title,
            unit="s",
            theirs=peer.short.spent.wall_s,
            ours=ours.short.spent.wall_s,
            more_is_better=False,
        )
        for peer in peers
        if peer.short is not None
    ]


def slow_answers(
    ours: Contender, peers: Sequence[Contender], server: Server, *, work: Path, say: Say
) -> list[Setting]:
    """Few requests in flight, each of them slow: the rate over the whole command."""

    def rate(contender: Contender) -> float:
        folder = work / f"slow-{len(list(work.iterdir()))}"
        run = finish(contender, server, rows=SLOW_ROWS, folder=folder, slots=SLOW_SLOTS)
        return run.rows / run.spent.wall_s

    mine, found = rate(ours), []
    for peer in peers:
        if peer.title.startswith(_UNABLE):
            continue
        try:
            theirs = rate(peer)
        except BenchError as failure:
            say(f"{peer.title}, slow answers: {failure}")
            continue
        found.append(
            Setting(
                setting=f"{SLOW_MS / 1000:.0f} s answers, {SLOW_SLOTS} at once,"
                f" {SLOW_ROWS} rows, the whole command",
                title=peer.title,
                unit="rows/s",
                theirs=theirs,
                ours=mine,
                more_is_better=True,
            )
        )
    return found


def tuned(
    ours: Contender, server: Server, *, work: Path, most: int | None, say: Say
) -> list[Setting]:
    """The best that `AsyncOpenAI` can do, against ours with as many requests at once."""
    found: list[Setting] = []
    mine: Run | None = None
    for peer in TUNED:
        python = environment(peer)
        if isinstance(python, Missing):
            say(f"{peer.title}: {python.reason}")
            continue
        rows = min(peer.rows, most or peer.rows)
        try:
            if mine is None:
                folder = work / "tuned-ours"
                mine = finish(ours, server, rows=rows, folder=folder, slots=peer.concurrency)
            theirs = finish(Driven(peer, python), server, rows=rows, folder=work / peer.key)
        except BenchError as failure:
            say(f"{peer.title}: {failure}")
            continue
        found += _both(f"{peer.title} {peer.version}", theirs, mine)
    return found


def _both(title: str, theirs: Run, ours: Run) -> list[Setting]:
    setting = f"tuned, {theirs.rows:,} rows"
    return [
        Setting(
            setting=setting,
            title=title,
            unit="rows/s",
            theirs=theirs.rate,
            ours=ours.rate,
            more_is_better=True,
        ),
        Setting(
            setting=f"{setting}, start-up included",
            title=title,
            unit="µs CPU a row",
            theirs=theirs.spent.cpu_s / theirs.rows * 1e6,
            ours=ours.spent.cpu_s / ours.rows * 1e6,
            more_is_better=False,
        ),
    ]
