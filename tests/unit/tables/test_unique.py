"""Unique ids: every repetition is found, and a shared hash alone is none."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.tables.unique import Digest, Duplicate, Duplicates, UniqueIds, keyed_digest

KEY = b"k" * 32


def repeated(
    ids: Sequence[str], scratch: Path, *, run_rows: int = 1 << 20, digest: Digest | None = None
) -> Duplicates:
    unique = UniqueIds(scratch, key=KEY, run_rows=run_rows, digest=digest)
    for start in range(0, len(ids), 3):
        unique.add(pa.array(ids[start : start + 3], pa.string()), first_row=start)
    return unique.duplicates(lambda rows: [ids[row] for row in rows])


def expected(ids: Sequence[str]) -> Duplicates:
    seen: dict[str, int] = {}
    found = [
        Duplicate(id=value, first_row=first, row=row)
        for row, value in enumerate(ids)
        if (first := seen.setdefault(value, row)) != row
    ]
    return Duplicates(total=len(found), first=tuple(found[:10]))


DIGESTS: dict[str, Digest] = {
    "keyed": keyed_digest(KEY),
    "all collide": lambda _: b"12345678",
    "some collide": lambda value: bytes([len(value) % 3] * 8),
    "the ends of the range": lambda value: (b"\0", b"\xff")[len(value) % 2] * 8,
}


@pytest.mark.parametrize("digest", DIGESTS.values(), ids=DIGESTS)
@given(
    ids=st.lists(st.text("abc", min_size=1, max_size=3), max_size=40), run_rows=st.integers(1, 50)
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_exactly_the_repetitions_are_found(
    tmp_path: Path, digest: Digest, ids: list[str], run_rows: int
) -> None:
    assert repeated(ids, tmp_path, run_rows=run_rows, digest=digest) == expected(ids)


def test_different_ids_need_no_second_look(tmp_path: Path) -> None:
    unique = UniqueIds(tmp_path, key=KEY, run_rows=1000)
    for start in range(0, 10_000, 500):
        ids = [f"id-{row}" for row in range(start, start + 500)]
        unique.add(pa.array(ids, pa.string()), first_row=start)

    def never(rows: Sequence[int]) -> Sequence[str]:
        raise AssertionError(f"nobody is suspect, yet {len(rows)} ids were asked for")

    assert unique.duplicates(never) == Duplicates()


def test_the_first_ten_of_many_are_shown_in_row_order(tmp_path: Path) -> None:
    ids = [f"id-{row % 15_000}" for row in range(30_000)]
    found = repeated(ids, tmp_path, run_rows=4096)
    assert found.total == 15_000
    assert [one.row for one in found.first] == list(range(15_000, 15_010))
    assert [one.first_row for one in found.first] == list(range(10))


def test_one_id_on_every_row_is_counted_without_sorting_it_all(tmp_path: Path) -> None:
    found = repeated(["same"] * 25_000, tmp_path, run_rows=1000)
    assert found.total == 24_999
    assert found.first[0] == Duplicate(id="same", first_row=0, row=1)


def test_no_ids_are_all_different(tmp_path: Path) -> None:
    assert repeated([], tmp_path) == Duplicates()


def test_the_key_changes_the_hash() -> None:
    assert keyed_digest(b"one")(b"id") != keyed_digest(b"two")(b"id")
    assert len(keyed_digest(b"one")(b"id")) == 8
