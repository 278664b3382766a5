"""The ways an endpoint fails one request, each over a real socket and through the real command.

One table names them. Two runs meet all of them: in the first every fault strikes
the first try of its rows, in the second it never ends for one row. The tests
then look at what became of the rows of each.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.scenario import faultserver
from tests.scenario.faultserver import Act, Asked, FaultServer, answers, fault_server, whole
from tests.scenario.place import NIGHTKILN, Place

TIMEOUT_S: Final = 1.2
TRIES: Final = 5  # of a row that always fails
HTML: Final = b"<!doctype html><title>502 Bad Gateway</title>"


class Wrong(NamedTuple):
    """A way to go wrong: what the server does, and what a row is told when that never ends."""

    act: Act
    fault: str
    said: str  # in its message
    billed: bool = False  # the work may have been done: it is said apart


def _says(body: bytes, headers: str = "") -> Act:
    return answers(lambda _: whole(body, headers=headers))


FAULTS: Final = {
    "its head drips": Wrong(
        faultserver.drips_its_head, "ambiguous", "no whole reply before the deadline", True
    ),
    "its body drips": Wrong(
        faultserver.drips_its_body, "ambiguous", "no whole reply before the deadline", True
    ),
    "it hangs": Wrong(faultserver.hangs, "ambiguous", "no whole reply before the deadline", True),
    "it resets": Wrong(faultserver.resets, "ambiguous", "connection_reset", True),
    "it resets within its reply": Wrong(
        faultserver.resets_within_its_reply, "ambiguous", "truncated_reply", True
    ),
    "it cuts its body": Wrong(faultserver.truncates, "ambiguous", "truncated_reply", True),
    "malformed JSON": Wrong(
        answers(lambda asked: whole(asked.good()[:-9] + b"<oops")), "protocol", "malformed_json"
    ),
    "an HTML page with a 200": Wrong(
        _says(HTML, "content-type: text/html\r\n"), "protocol", "502 Bad Gateway"
    ),
    "an empty 200": Wrong(_says(b""), "protocol", "empty_body"),
    "a 200 without choices": Wrong(_says(b'{"id": 1, "choices": []}'), "protocol", "no_choices"),
    "an error in a 200": Wrong(
        _says(b'{"error": {"message": "the worker fell over"}}'), "protocol", "fell over"
    ),
    "bytes that are no UTF-8": Wrong(
        answers(lambda asked: whole(asked.good().replace(b"answer", b"\xff\xfe"))),
        "protocol",
        "utf-8",
    ),
    "a gzip bomb": Wrong(faultserver.gzip_bomb(), "protocol", "compressed_body"),
    "a header bomb": Wrong(faultserver.header_bomb, "protocol", "headers_too_large"),
    "no HTTP": Wrong(faultserver.speaks_ssh, "protocol", "bad_http"),
    "a 500": Wrong(faultserver.refuses("500 Oh"), "transient", "said by the test"),
    "a 502 with a page": Wrong(
        answers(lambda _: whole(HTML, status="502 Bad", headers="content-type: text/html\r\n")),
        "transient",
        "502 Bad Gateway",
    ),
}
NAMES: Final = tuple(FAULTS)
ROWS: Final = 6 * len(FAULTS)  # of the run in which faults pass: half of them are struck
FLOW: Final = 1_200  # of the run in which they never end: others go on beside those struck
FIRST: Final = 100
APART: Final = 24  # so that good answers come between their faults, also on a busy machine
SLOTS: Final = 16
HELD_S: Final = 0.2  # a good answer of that run, so that it outlasts all the tries


class Met(NamedTuple):
    """A run that is over: what was asked and what was told."""

    server: FaultServer
    report: dict[str, Any]
    exit_code: int
    rows: list[dict[str, str]]
    summary: str
    peak_mb: float

    def asked(self, row: int) -> int:
        return self.server.asked[f"Say t {row}"]


async def held(asked: Asked) -> None:
    """A right answer, later."""
    if not await asked.left(HELD_S):
        await faultserver.good(asked)


def row_of(asked: Asked) -> int:
    return int(asked.text.split()[-1])


# A child is born with its parent's peak, and these tests run in processes that are large.
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def met(place: Place, server: FaultServer, *more: str, rows: int) -> Met:
    """Run the table and take down all there is to know."""
    place.table(rows)
    arguments = place.args("--json", "--timeout", str(TIMEOUT_S), "--wait", "20", *more)
    ended = place.command(sys.executable, "-c", MEASURED, *NIGHTKILN, *arguments)
    said, _, peak = ended.stdout.rstrip("\n").rpartition("\n")
    assert said, ended.stderr
    report = json.loads(said)
    page = place.nightkiln("jobs", "show", "last").stdout
    peak_mb = int(peak) / 1024
    return Met(server, report, ended.returncode, place.answers(), page, peak_mb)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """Every fault strikes the first try of three rows; every other row is struck."""

    def rule(asked: Asked) -> Act | None:
        nth, is_spared = divmod(row_of(asked), 2)
        if is_spared or asked.nth > 1:
            return None
        return FAULTS[NAMES[nth % len(NAMES)]].act

    with fault_server(rule) as server, _place(tmp_path_factory, server) as place:
        yield met(place, server, rows=ROWS)


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """Every fault strikes one row, at every try."""

    def rule(asked: Asked) -> Act | None:
        nth, spared = divmod(row_of(asked) - FIRST, APART)
        return FAULTS[NAMES[nth]].act if not spared and 0 <= nth < len(NAMES) else held

    with fault_server(rule) as server, _place(tmp_path_factory, server) as place:
        yield met(place, server, "--concurrency", str(SLOTS), rows=FLOW)


def _place(factory: pytest.TempPathFactory, server: FaultServer) -> Place:
    folder: Path = factory.mktemp("faults")
    return Place(folder, server.url)


def test_faults_that_pass_leave_every_row_with_its_own_answer(once: Met) -> None:
    assert once.exit_code == 0
    assert [(one["id"], one["answer"]) for one in once.rows] == [
        (f"{row:05d}", f"answer to Say t {row}") for row in range(ROWS)
    ]
    assert once.server.requests == once.report["attempts"] == ROWS + ROWS // 2
    assert once.report["maybe_billed"] == 3 * sum(one.billed for one in FAULTS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_whose_first_try_met_a_fault_is_asked_once_more(once: Met, name: str) -> None:
    for row in range(2 * NAMES.index(name), ROWS, 2 * len(NAMES)):
        assert once.asked(row) == 2
        assert once.rows[row]["attempts"] == "2"


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_always_meets_a_fault_is_told_so_and_given_up(always: Met, name: str) -> None:
    row, wrong = FIRST + APART * NAMES.index(name), FAULTS[name]
    told = always.rows[row]
    assert (told["status"], told["fault"]) == ("error", wrong.fault)
    assert wrong.said in told["fault_message"]
    assert always.asked(row) == TRIES


def test_faults_that_never_end_fail_their_rows_and_no_other(always: Met) -> None:
    assert always.exit_code == 3
    struck = [FIRST + APART * nth for nth in range(len(NAMES))]
    assert [row for row, one in enumerate(always.rows) if one["status"] != "ok"] == struck
    assert {always.asked(row) for row in range(FLOW) if row not in struck} == {1}
    kinds = Counter(one.fault for one in FAULTS.values())
    assert {one["fault"]: one["count"] for one in always.report["faults"]} == kinds
    for kind, number in kinds.items():
        assert re.search(rf"{kind} +{number}; fix: ", always.summary)


def test_bombs_do_not_fill_the_memory(once: Met, always: Met) -> None:
    assert max(once.peak_mb, always.peak_mb) < 300


@pytest.mark.parametrize(
    ("answered_by", "is_told"), [("m-2024-08-06", False), ("n-1", True)], ids=["dated", "another"]
)
def test_the_answer_of_another_model_is_kept_and_told_once(
    tmp_path: Path, answered_by: str, is_told: bool
) -> None:
    with fault_server(lambda _: faultserver.answered_by(answered_by)) as server:
        place = Place(tmp_path, server.url)
        place.table(40)
        ended = place.run()
    assert ended.returncode == 0
    assert [one["answer"] for one in place.answers()] == [f"answer to Say t {n}" for n in range(40)]
    assert server.requests == 40
    told = f"asked m, answered by {answered_by}"
    assert ended.stderr.count(f"note: {told}") == is_told
    assert (f"  model         {told}" in ended.stderr) == is_told


@pytest.mark.slow
def test_the_last_rows_of_a_job_may_fail_for_good(tmp_path: Path) -> None:
    stumbles = FAULTS["a 500"].act
    with fault_server(lambda asked: stumbles if row_of(asked) >= 37 else None) as server:
        place = Place(tmp_path, server.url)
        place.table(40)
        ended = place.run("--wait", "60")
    assert ended.returncode == 3, ended.stderr
    assert [row for row, one in enumerate(place.answers()) if one["status"] != "ok"] == [37, 38, 39]
    assert server.requests == 37 + 3 * TRIES
