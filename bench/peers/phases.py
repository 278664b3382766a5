"""What is done with every tool: a short run, a long one, one with faults, one that is killed.

The same code drives nightkiln and its peers: a contender is a command line, and
whoever runs it only looks at the server's counts, the processes and the output.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec
from bench import inputs, jobs
from bench.peers.roster import Peer
from bench.peers.trees import Spent, Tree
from bench.processes import ROOT, BenchError
from bench.servers import Server

_ROW_ERRORS = 3  # our exit code when rows failed: they are counted from the output


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One command from its start to its end."""

    rows: int
    wrong: int  # lost, or not the answer to their own prompt
    requests: int
    rate: float  # answers a second between the first request and the last answer
    filled: float  # mean requests in flight at the server
    spent: Spent


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was killed in the middle and started again."""

    rows: int
    answered: int  # by the server, before the kill
    asked_again: int  # of those
    seen_twice: int  # asked again with those that were in flight
    wrong: int  # after the second run


class Contender(ABC):
    """A tool that can be started on a table of prompts."""

    def __init__(self, title: str, version: str) -> None:
        self.title = title
        self.version = version

    @abstractmethod
    def command(self, source: Path, output: Path, server: Server, slots: int | None) -> list[str]:
        """Its command line; without `slots` with as many as it is compared with."""

    def environ(self, folder: Path) -> Mapping[str, str]:
        """A clean environment, with a home of its own and nothing of ours."""
        home = folder / "home"
        home.mkdir(exist_ok=True)
        scratch = str(folder.parent)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TMPDIR": scratch,
            "RAY_TMPDIR": scratch,
        }


class Driven(Contender):
    """A peer behind its driver."""

    def __init__(self, peer: Peer, python: Path) -> None:
        super().__init__(peer.title, peer.version)
        self._peer, self._python = peer, python

    def command(self, source: Path, output: Path, server: Server, slots: int | None) -> list[str]:
        """The driver's one interface."""
        concurrency = str(self._peer.concurrency if slots is None else slots)
        script = str(self._peer.script)
        return [str(self._python), script, server.url, str(source), str(output), concurrency]


class Ourselves(Contender):
    """The command line of this tree; it finds the slots itself unless they are given."""

    def command(self, source: Path, output: Path, server: Server, slots: int | None) -> list[str]:
        """As in every other benchmark."""
        home = output.parent / "nightkiln"
        given = jobs.command(source, output, server=server, home=home, slots=slots)
        return [sys.executable, *given, "--column", "text"]

    def environ(self, folder: Path) -> Mapping[str, str]:
        """This tree's package before any that is installed."""
        return {**super().environ(folder), "PYTHONPATH": str(ROOT / "src")}


def finish(
    contender: Contender, server: Server, *, rows: int, folder: Path, slots: int | None = None
) -> Run:
    """Run a tool to its end. Raises BenchError when it fails as a whole."""
    source, output = _table(folder, rows)
    server.reset()
    tree = _start(contender, server, source, output, slots)
    spent = _ended(tree)
    stats = server.stats()
    return Run(
        rows=rows,
        wrong=wrong(output, rows),
        requests=stats.requests,
        rate=stats.rps_over_span,
        filled=stats.mean_inflight,
        spent=spent,
    )


def kill(contender: Contender, server: Server, *, rows: int, folder: Path) -> Killed:
    """Kill a tool when half of the rows have their answers, and run the same command again."""
    source, output = _table(folder, rows)
    server.reset()
    tree = _start(contender, server, source, output, None)
    if tree.wait(until=lambda: server.stats().ok >= rows // 2) is not None:
        raise BenchError(f"it ended before the kill: {tree.complaint()}")
    tree.kill()
    at_kill = server.settled()
    _ended(_start(contender, server, source, output, None))
    at_end = server.stats()
    return Killed(
        rows=rows,
        answered=at_kill.ok,
        asked_again=at_end.resent_after_ok - at_kill.resent_after_ok,
        seen_twice=at_end.duplicates - at_kill.duplicates,
        wrong=wrong(output, rows),
    )


def wrong(output: Path, rows: int) -> int:
    """Rows without the answer to their own prompt in an output of JSON lines."""
    right = set()
    if output.exists():
        with output.open("rb") as lines:
            for line in lines:
                found = msgspec.json.decode(line, type=_Line)
                row = int(found.custom_id.removeprefix("request-"))
                if row < rows and (found.answer or "").startswith(f"h:{_digest(row)} "):
                    right.add(row)
    return rows - len(right)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    custom_id: str
    answer: str | None = None


def _digest(row: int) -> str:
    return blake2b(inputs.prompt(row).encode(), digest_size=8).hexdigest()


def _table(folder: Path, rows: int) -> tuple[Path, Path]:
    folder.mkdir()
    return inputs.jsonl_table(folder / "rows.jsonl", rows), folder / "answers.jsonl"


def _start(
    contender: Contender, server: Server, source: Path, output: Path, slots: int | None
) -> Tree:
    folder = output.parent
    return Tree(
        contender.command(source, output, server, slots),
        folder=folder,
        environ=contender.environ(folder),
    )


def _ended(tree: Tree) -> Spent:
    spent = tree.wait()
    if spent is None or spent.code not in {0, _ROW_ERRORS}:
        raise BenchError(f"the run failed: {tree.complaint()}")
    return spent
