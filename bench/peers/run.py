"""nightkiln beside the tools people use today: `python bench/peers/run.py`, or `make bench-peers`.

Everybody is measured in the same run, against the same server of 512 slots and
50 ms, each in an environment of its own. Results go to `bench/results/` as JSON
and, with `--page`, to `docs/benchmarks.md`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import msgspec
from bench import page
from bench.jobs import CAPACITY
from bench.peers import favouring
from bench.peers.comparison import SHORT, Result, favouring_table, figures, main_table
from bench.peers.environments import Missing, environment
from bench.peers.phases import Contender, Driven, Ourselves, finish, kill
from bench.peers.roster import PEERS, TUNED, Peer
from bench.processes import BenchError
from bench.run import report, save
from bench.servers import Server, preferred, serving

from nightkiln._version import __version__

OUR_ROWS, OUR_FEWER = 40_000, 5_000
_FAULTS = {"--p500": "0.02", "--p503": "0.01", "--preset": "0.01", "--pmalformed": "0.01"}

T = TypeVar("T")


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """The same stub three times: clean, with 5 % faults, and with slow answers."""

    clean: Server
    faulty: Server
    slow: Server


def main(argv: Sequence[str] | None = None) -> int:
    """Compare with the peers named, or all; 1 when something could not be measured."""
    asked = _arguments(argv)
    peers = [peer for peer in PEERS if not asked.names or peer.key in asked.names]
    missing = _environments([*peers, *(TUNED if asked.favour else ())])
    if asked.environments:
        return 1 if missing else 0
    before, began = os.getloadavg()[0], time.monotonic()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nk-peers-")))
        servers = _servers(stack, work)
        ours, results, contenders = _all(peers, servers, work=work, most=asked.rows)
        settings = favouring.one_shot(ours, results)
        if asked.favour:
            mine = _ourselves()
            settings += favouring.slow_answers(mine, contenders, servers.slow, work=work, say=_say)
            settings += favouring.tuned(mine, servers.clean, work=work, most=asked.rows, say=_say)
    found = tuple(figures(ours, results, settings))
    made = report(found, {"peers": time.monotonic() - began}, before=before)
    body = "\n".join(
        [main_table(ours, results), "", "What favours the others:", "", favouring_table(settings)]
    )
    print(body)
    print(save(made))
    if asked.page:
        page.update(made, name="peers", body=body)
    return 1 if any(result.failures for result in (ours, *results)) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    known = [peer.key for peer in PEERS]
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *known])
    parser.add_argument("--rows", type=int, help="of each run at most, for a quick look")
    parser.add_argument("--environments", action="store_true", help="make them, measure nothing")
    parser.add_argument(
        "--no-favour", dest="favour", action="store_false", help="leave out the second table"
    )
    parser.add_argument("--page", action="store_true", help="update docs/benchmarks.md")
    return parser.parse_args(argv)


def _environments(peers: Sequence[Peer]) -> list[str]:
    missing = []
    for name, peer in {peer.requirements: peer for peer in peers}.items():
        _say(f"environment {name} ...")
        made = environment(peer)
        if isinstance(made, Missing):
            _say(f"  not installed: {made.reason}")
            missing.append(name)
    return missing


def _servers(stack: ExitStack, work: Path) -> Servers:
    def server(name: str, latency_ms: int, faults: dict[str, str]) -> Server:
        place = work / name
        place.mkdir()
        flags = [word for pair in faults.items() for word in pair]
        flags += [*CAPACITY, "--latency", f"const:{latency_ms}"]
        return stack.enter_context(serving(preferred(), flags, work=place))

    return Servers(
        clean=server("clean", 50, {}),
        faulty=server("faulty", 50, _FAULTS),
        slow=server("slow", favouring.SLOW_MS, {}),
    )


def _ourselves() -> Contender:
    return Ourselves("nightkiln", __version__)


def _all(
    peers: Sequence[Peer], servers: Servers, *, work: Path, most: int | None
) -> tuple[Result, list[Result], list[Contender]]:
    """Our result, those of the peers, and the peers that could be installed."""
    results: list[Result] = []
    contenders: list[Contender] = []
    for peer in peers:
        python = environment(peer)
        blank = Result(title=peer.title, version=peer.version, slots=str(peer.concurrency))
        if isinstance(python, Missing):
            reason = f"its packages could not be installed: {python.reason}"
            results.append(msgspec.structs.replace(blank, failures=(reason,)))
            continue
        contender = Driven(peer, python)
        contenders.append(contender)
        rows = (min(peer.rows, most or peer.rows), min(peer.fewer, most or peer.fewer))
        results.append(_measure(contender, blank, servers, rows=rows, work=work))
    blank = Result(title="nightkiln", version=__version__, slots="auto")
    rows = (min(OUR_ROWS, most or OUR_ROWS), min(OUR_FEWER, most or OUR_FEWER))
    return _measure(_ourselves(), blank, servers, rows=rows, work=work), results, contenders


def _measure(
    contender: Contender, blank: Result, servers: Servers, *, rows: tuple[int, int], work: Path
) -> Result:
    """Everything about one tool; the run that counts comes last, when its files are in memory."""
    failures: list[str] = []

    def tried(what: str, run: Callable[[Path], T]) -> T | None:
        began = time.monotonic()
        try:
            found = run(work / f"run-{len(list(work.iterdir()))}")
        except BenchError as failure:
            failures.append(f"{what}: {failure}")
            _say(f"{contender.title}, {what}: {failure}")
            return None
        _say(f"{contender.title}, {what}: {time.monotonic() - began:.1f} s")
        return found

    most, fewer = rows
    result = msgspec.structs.replace(
        blank,
        faults=tried(
            "5 % faults", lambda at: finish(contender, servers.faulty, rows=fewer, folder=at)
        ),
        killed=tried("kill -9", lambda at: kill(contender, servers.clean, rows=fewer, folder=at)),
        short=tried("start", lambda at: finish(contender, servers.clean, rows=SHORT, folder=at)),
        long=tried("rate", lambda at: finish(contender, servers.clean, rows=most, folder=at)),
    )
    return msgspec.structs.replace(result, failures=tuple(failures))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
