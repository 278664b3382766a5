"""kill -9 in the middle of a job, and the same command again.

Who was asked twice is counted twice over: by the server, and from what was on
disk after the kill. A journalled row must never be asked again; a row in flight
at the kill has to be.
"""

import time
from pathlib import Path

import msgspec
from bench import inputs, jobs
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.processes import BenchError, Child, run
from bench.servers import Server, Stats, preferred, serving

_JOURNALLED = Path(__file__).parent / "journalled.py"
_DEADLINE_S = 600.0
_VARYING = frozenset({"latency_ms", "attempts"})  # what no two runs have in common


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found after a kill and a second run."""

    rows: int
    journalled: int  # rows with an answer on disk at the kill
    at_kill: Stats
    at_end: Stats
    first_request_s: float  # from the start of the second process
    wrong: int
    output: Path

    @property
    def in_flight(self) -> int:
        """Requests without an answer at the kill, by the server's count."""
        return self.at_kill.cut_off

    @property
    def asked_again(self) -> int:
        """Rows that the server saw twice."""
        return self.at_end.duplicates - self.at_kill.duplicates

    @property
    def journalled_again(self) -> int:
        """Requests of the second run beyond the rows that had no answer on disk."""
        second = self.at_end.requests - self.at_kill.requests
        return second - (self.rows - self.journalled)


def resume(*, work: Path) -> list[Figure]:
    """Killed at 900,000 of a million rows."""
    rows = 1_000_000  # and answers that come out of step, so that the kill finds some in flight
    with serving(preferred(), [*CAPACITY, "--latency", "uniform:5,15"], work=work) as server:
        found = _kill_and_repeat(server, rows=rows, at=900_000, work=work)
    return _figures("resume", found, against=server.kind)


def kill(*, work: Path) -> list[Figure]:
    """Killed in the middle of a hundred thousand rows, and compared with a run that was not."""
    rows = 100_000
    with serving(preferred(), [*CAPACITY, "--latency", "const:50"], work=work) as server:
        whole = work / "whole.csv"
        source = inputs.csv_table(work / "rows.csv", rows)
        jobs.finish(source, whole, server=server, home=work / "home-whole")
        server.reset()
        found = _kill_and_repeat(server, rows=rows, at=rows // 2, work=work)
    differing = inputs.differing(whole, found.output, but=_VARYING)
    return [
        *_figures("kill", found, against=server.kind),
        Figure(
            workload="kill",
            name="rows that differ from an uninterrupted run",
            value=differing,
            at_most=0,
            against=server.kind,
            note="all columns but latency_ms and attempts",
        ),
    ]


def _kill_and_repeat(server: Server, *, rows: int, at: int, work: Path) -> Killed:
    source = inputs.csv_table(work / "rows.csv", rows)
    output, home = work / "answers.csv", work / "home"
    first = jobs.start(source, output, server=server, home=home)
    _wait_until(server, first, at)
    first.kill()
    at_kill = server.settled()
    journalled = int(run([str(_JOURNALLED), str(home)], log=work / "journalled.log").said)
    second = jobs.start(source, output, server=server, home=home)
    first_request_s = _first_request(server, second, after=at_kill.requests)
    if second.wait().code:
        raise BenchError(f"the second run failed: {second.complaint()}")
    return Killed(
        rows=rows,
        journalled=journalled,
        at_kill=at_kill,
        at_end=server.stats(),
        first_request_s=first_request_s,
        wrong=inputs.checked(output).wrong_of(rows),
        output=output,
    )


def _wait_until(server: Server, child: Child, answered: int) -> None:
    until = time.monotonic() + _DEADLINE_S
    while server.stats().ok < answered:
        if not child.running or time.monotonic() > until:
            raise BenchError(f"the run ended before the kill: {child.complaint()}")
        time.sleep(0.02)


def _first_request(server: Server, child: Child, *, after: int) -> float:
    while server.stats().requests == after:
        if not child.running:
            raise BenchError(f"the second run asked nothing: {child.complaint()}")
        time.sleep(0.001)
    return time.monotonic() - child.started_at


def _figures(workload: str, found: Killed, *, against: str) -> list[Figure]:
    def figure(name: str, value: float, unit: str = "", at_most: float | None = None) -> Figure:
        return Figure(
            workload=workload, name=name, value=value, unit=unit, at_most=at_most, against=against
        )

    return [
        figure("first new request after the start", found.first_request_s, "s", 1.5),
        figure("journalled rows asked again", found.journalled_again, "rows", 0),
        figure("rows the server saw twice", found.asked_again, "rows"),
        figure("in flight at the kill", found.in_flight, "rows"),
        figure("answered, never read, asked again", found.at_end.resent_after_ok, "rows"),
        figure("rows lost or wrong", found.wrong, "rows", 0),
    ]
