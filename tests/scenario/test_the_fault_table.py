"""The ways an endpoint fails one request, each over a real socket and through the real command.

One table names them. Two runs meet all of them: in the first every fault strikes
the first try of its rows, in the second it never ends for one row. The tests
then look at what became of the rows of each.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.scenario import faultserver
from tests.scenario.faultserver import Act, Asked, FaultServer, answers, fault_server, whole
from tests.scenario.place import Place

TIMEOUT_S: Final = 1.5
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
PERIOD: Final = 2 * len(FAULTS)  # of the rows: each fault once, and as many that go well
FIRST_ROUNDS: Final = 3


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


def struck(asked: Asked) -> Wrong | None:
    """The fault that strikes this row, if one does."""
    at = int(asked.text.split()[-1]) % PERIOD
    return FAULTS[NAMES[at]] if at < len(NAMES) else None


def met(place: Place, server: FaultServer, *, rows: int) -> Met:
    """Run the table and take down all there is to know."""
    place.table(rows)
    process = place.start(*place.args("--json", "--timeout", str(TIMEOUT_S)))
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    page = place.nightkiln("jobs", "show", "last").stdout
    peak_mb = used.ru_maxrss / 1024
    return Met(server, report, process.returncode, place.answers(), page, peak_mb)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """Every fault strikes the first try of three rows."""

    def rule(asked: Asked) -> Act | None:
        wrong = struck(asked)
        return wrong.act if wrong is not None and asked.nth == 1 else None

    with fault_server(rule) as server, _place(tmp_path_factory, server) as place:
        yield met(place, server, rows=FIRST_ROUNDS * PERIOD)


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """Every fault strikes one row, at every try."""

    def rule(asked: Asked) -> Act | None:
        wrong = struck(asked)
        return None if wrong is None else wrong.act

    with fault_server(rule) as server, _place(tmp_path_factory, server) as place:
        yield met(place, server, rows=PERIOD)


def _place(factory: pytest.TempPathFactory, server: FaultServer) -> Place:
    folder: Path = factory.mktemp("faults")
    return Place(folder, server.url)


def test_faults_that_pass_leave_every_row_with_its_own_answer(once: Met) -> None:
    assert once.exit_code == 0
    assert [one["id"] for one in once.rows] == [f"{row:05d}" for row in range(len(once.rows))]
    assert [one["answer"] for one in once.rows] == [
        f"answer to Say t {row}" for row in range(FIRST_ROUNDS * PERIOD)
    ]
    hit = FIRST_ROUNDS * len(FAULTS)
    assert once.server.requests == once.report["attempts"] == len(once.rows) + hit
    assert once.report["maybe_billed"] == FIRST_ROUNDS * sum(one.billed for one in FAULTS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_whose_first_try_met_a_fault_is_asked_once_more(once: Met, name: str) -> None:
    for row in range(NAMES.index(name), len(once.rows), PERIOD):
        assert once.asked(row) == 2
        assert once.rows[row]["attempts"] == "2"


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_always_meets_a_fault_is_told_so_and_given_up(always: Met, name: str) -> None:
    row, wrong = NAMES.index(name), FAULTS[name]
    told = always.rows[row]
    assert (told["status"], told["fault"]) == ("error", wrong.fault)
    assert wrong.said in told["fault_message"]
    assert always.asked(row) == TRIES


def test_faults_that_never_end_fail_their_rows_and_no_other(always: Met) -> None:
    assert always.exit_code == 3
    failed = [row for row, one in enumerate(always.rows) if one["status"] != "ok"]
    assert failed == list(range(len(NAMES)))
    assert {always.asked(row) for row in range(len(NAMES), PERIOD)} == {1}
    kinds = [one.fault for one in FAULTS.values()]
    for kind in set(kinds):
        assert f"{kind}" in always.summary
        assert kinds.count(kind) == next(
            one["count"] for one in always.report["faults"] if one["fault"] == kind
        )


def test_bombs_do_not_fill_the_memory(once: Met, always: Met) -> None:
    assert max(once.peak_mb, always.peak_mb) < 300
