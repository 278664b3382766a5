"""The answer cache: what was kept is found, and whatever goes wrong is only a miss."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightkiln.core.reuse import Kept
from nightkiln.core.usage import Usage
from nightkiln.store import cache as caches
from nightkiln.store import cachefile
from nightkiln.store.cache import AnswerCache, CacheLimits
from nightkiln.store.cachefile import remove, state_of

DEADLINE_S = 30.0
SMALL = CacheLimits(size_bytes=500_000)


def key(number: int) -> bytes:
    return number.to_bytes(8, "little") + b"the rest"


def number_of(name: bytes) -> int:
    return int.from_bytes(name[:8], "little")


def kept(text: str = "an answer", **more: object) -> Kept:
    usage = Usage(input_tokens=3, output_tokens=4)
    return Kept(text=text, finish_reason="stop", model="m", usage=usage, **more)  # type: ignore[arg-type]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        tick = 0.01
        time.sleep(tick)


class Shelf:
    """A cache file, opened as often as a test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_000_000.0
        self._open: list[AnswerCache] = []

    def open(self, limits: CacheLimits | None = None) -> AnswerCache:
        made = AnswerCache(self.path, limits or CacheLimits(), clock=lambda: self.now)
        self._open.append(made)
        return made

    def fill(self, numbers: range, *, text: str = "", limits: CacheLimits | None = None) -> None:
        """Keep an answer per number, in order, and make sure that each batch is written."""
        made = self.open(limits)
        for start in range(numbers.start, numbers.stop, 100):
            some = range(start, min(start + 100, numbers.stop))
            made.keep([(key(number), kept(f"{number}{text}")) for number in some])
            until(lambda: not (made._pending or made._writing))
        made.close()

    def close(self) -> None:
        for made in self._open:
            made.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "cache.db")
    yield made
    made.close()


def test_what_is_kept_is_found_at_once_and_by_whoever_comes_later(shelf: Shelf) -> None:
    first = shelf.open()
    assert first.find([key(1), key(2)]) == {}
    first.keep([(key(1), kept("one", cost_usd=0.25, body=b"{}")), (key(3), kept("three"))])
    assert first.find([key(1), key(2)]) == {key(1): kept("one", cost_usd=0.25, body=b"{}")}
    first.close()
    assert first.find([key(1)]) == {}

    again = shelf.open()
    assert again.secret == first.secret
    found = again.find([key(3), key(2), key(1)])
    assert found == {key(1): kept("one", cost_usd=0.25, body=b"{}"), key(3): kept("three")}
    assert state_of(shelf.path).answers == 2
    assert os.stat(shelf.path).st_mode & 0o077 == 0


def test_a_thousand_keys_are_read_at_once(shelf: Shelf) -> None:
    shelf.fill(range(1500))
    found = shelf.open().find([key(number) for number in range(3000)])
    assert {number_of(one) for one in found} == set(range(1500))
    assert all(found[key(number)].text == str(number) for number in range(1500))


def test_a_newer_answer_takes_the_place_of_an_older_one(shelf: Shelf) -> None:
    shelf.fill(range(1), text=" old")
    shelf.fill(range(1), text=" new")
    assert shelf.open().find([key(0)])[key(0)].text == "0 new"
    assert state_of(shelf.path).answers == 1


def test_answers_are_used_for_as_long_as_they_may_be(shelf: Shelf) -> None:
    limits = CacheLimits(age_s=100.0)
    shelf.fill(range(5))
    shelf.now += 99
    shelf.fill(range(5, 10))
    assert len(shelf.open(limits).find([key(number) for number in range(10)])) == 10
    assert len(shelf.open().find([key(n) for n in range(10)], since=shelf.now - 1)) == 5
    shelf.now += 2
    assert len(shelf.open(limits).find([key(number) for number in range(10)])) == 5
    shelf.fill(range(20, 21), limits=limits)
    assert state_of(shelf.path).answers == 6  # who writes removes what is too old


def test_the_oldest_go_when_it_is_full(shelf: Shelf) -> None:
    text = "x" * 1000
    shelf.fill(range(1200), text=text, limits=SMALL)
    found = shelf.open(SMALL).find([key(number) for number in range(1200)])
    numbers = {number_of(one) for one in found}
    assert numbers >= set(range(1000, 1200))
    assert not numbers & set(range(800))
    assert state_of(shelf.path).size_bytes < 3 * SMALL.size_bytes  # its log included


def test_a_hit_among_the_oldest_outlives_its_neighbours(shelf: Shelf) -> None:
    text = "x" * 1000
    shelf.fill(range(200), text=text, limits=SMALL)
    reader = shelf.open(SMALL)
    for start in range(200, 900, 100):
        assert reader.find([key(0)])
        shelf.fill(range(start, start + 100), text=text, limits=SMALL)
    found = reader.find([key(0), key(1), key(2)])
    assert set(found) == {key(0)}


@pytest.mark.parametrize("content", [b"", b"no database", os.urandom(1) * 9000, b"SQLite format 3"])
def test_a_file_that_is_no_cache_becomes_one(shelf: Shelf, content: bytes) -> None:
    shelf.path.write_bytes(content)
    shelf.fill(range(3))
    assert len(shelf.open().find([key(number) for number in range(3)])) == 3


def test_a_damaged_file_never_gives_a_wrong_answer(shelf: Shelf) -> None:
    shelf.fill(range(800), text="-" * 400)
    size = shelf.path.stat().st_size
    with shelf.path.open("r+b") as file:
        for place in range(32768, size, 32768):
            file.seek(place + 700)
            file.write(b"\0damage\xff" * 20)
    made = shelf.open()
    found = made.find([key(number) for number in range(800)])
    for number, one in ((number_of(name), one) for name, one in found.items()):
        assert one.text == f"{number}" + "-" * 400
    assert len(found) < 800
    made.keep([(key(9000), kept())])
    made.close()


def test_an_answer_that_was_changed_on_disk_is_a_miss(shelf: Shelf) -> None:
    shelf.fill(range(2))
    connection = sqlite3.connect(shelf.path, isolation_level=None)
    other = connection.execute("SELECT value FROM answers WHERE key = ?", (1,)).fetchone()[0]
    connection.execute("UPDATE answers SET value = ? WHERE key = ?", (other, 0))
    connection.close()
    assert set(shelf.open().find([key(0), key(1)])) == {key(1)}


def test_half_a_key_in_common_is_not_the_same_request(shelf: Shelf) -> None:
    shelf.fill(range(2))
    assert shelf.open().find([key(1)[:8] + b"not rest"]) == {}


def test_a_cache_of_another_format_is_begun_anew(shelf: Shelf) -> None:
    shelf.fill(range(2))
    connection = sqlite3.connect(shelf.path, isolation_level=None)
    connection.execute("ALTER TABLE answers RENAME COLUMN value TO worth")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    shelf.fill(range(5, 6))
    assert set(shelf.open().find([key(0), key(5)])) == {key(5)}


def test_where_no_file_can_be_everything_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / "cache.db").mkdir()
    for path in (tmp_path / "cache.db", tmp_path / "nowhere" / "cache.db"):
        made = AnswerCache(path, CacheLimits())
        assert not made.is_open
        made.keep([(key(1), kept())])
        assert made.find([key(1)]) == {}
        made.close()
        assert state_of(path).answers == 0


def test_another_writer_holds_up_nobody_who_reads(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cachefile, "_WAIT_S", 0.05)
    shelf.fill(range(2))
    other = sqlite3.connect(shelf.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    made = shelf.open()
    made.keep([(key(7), kept())])
    until(lambda: not (made._pending or made._writing))
    assert set(made.find([key(1), key(7)])) == {key(1)}
    other.execute("ROLLBACK")
    other.close()


def test_it_never_takes_the_last_room_of_the_disk(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.fill(range(1))
    monkeypatch.setattr(caches, "SPARE_BYTES", 1 << 62)
    shelf.fill(range(1, 5))
    assert set(shelf.open().find([key(number) for number in range(5)])) == {key(0)}


def test_too_much_at_once_is_dropped_and_not_held(shelf: Shelf) -> None:
    made = shelf.open()
    made.keep([(key(1), kept("x" * (caches.LARGEST_BYTES + 1)))])
    assert made.find([key(1)]) == {}
    large = kept("x" * 900_000)
    made.keep((key(number), large) for number in range(200))
    assert made._bytes <= caches.PENDING_BYTES


FILL = """
import resource, sys
from pathlib import Path
from nightkiln.core.reuse import Kept
from nightkiln.store.cache import AnswerCache, CacheLimits
path, first, count, room = Path(sys.argv[1]), *map(int, sys.argv[2:5])
if room:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
made = AnswerCache(path, CacheLimits())
for number in range(first, first + count):
    made.keep([(number.to_bytes(8, "little") + b"the rest", Kept(text=f"{number}" + "x" * 500))])
    if number % 100 == 0:
        made.find([number.to_bytes(8, "little") + b"the rest"])
        print(number, flush=True)
made.close()
print("closed", flush=True)
"""


def filling(path: Path, *, first: int, count: int, room: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(path), str(first), str(count), str(room)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_full_disk_ends_nothing(shelf: Shelf) -> None:
    with filling(shelf.path, first=0, count=5000, room=600_000) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("closed\n")
    for number, one in shelf.open().find([key(number) for number in range(5000)]).items():
        assert one.text == f"{number_of(number)}" + "x" * 500


def test_several_processes_share_it(shelf: Shelf) -> None:
    running = [filling(shelf.path, first=1000 * one, count=1000) for one in range(3)]
    for process in running:
        _, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, err) == (0, "")
    found = shelf.open().find([key(number) for number in range(3000)])
    assert len(found) == 3000
    assert {one.text[0] for one in found.values()} <= set("0123456789")


def test_a_killed_process_leaves_a_cache_that_works(shelf: Shelf) -> None:
    with filling(shelf.path, first=0, count=2_000_000) as process:
        until(lambda: state_of(shelf.path).answers > 0)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
    assert shelf.open().find([key(number) for number in range(1000)])
    shelf.fill(range(5_000_000, 5_000_001))
    assert shelf.open().find([key(5_000_000)])


def test_it_may_be_deleted_while_it_is_used(shelf: Shelf) -> None:
    shelf.fill(range(2))
    used = shelf.open()
    assert used.find([key(1)])
    assert remove(shelf.path) > 0
    assert not shelf.path.exists()
    used.keep([(key(5), kept())])
    used.find([key(0), key(5)])
    fresh = shelf.open()
    assert fresh.find([key(0)]) == {}
    fresh.keep([(key(6), kept())])
    fresh.close()
    used.close()
    assert set(shelf.open().find([key(0), key(5), key(6)])) >= {key(6)}
