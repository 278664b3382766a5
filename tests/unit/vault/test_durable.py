"""A file appears whole and durable, or not at all."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path

import pytest

from nightkiln.core import crashpoints
from nightkiln.core.errors import DiskError
from nightkiln.vault.durable import (
    disk_errors,
    link,
    make_dir,
    replacing,
    sha256_of,
    write_bytes,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_bytes(path, b"before")
    with replacing(path) as out:
        out.write(b"af")
        out.flush()
        assert path.read_bytes() == b"before"
        out.write(b"ter")
    assert path.read_bytes() == b"after"


def test_a_writer_that_fails_leaves_what_was_there_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_bytes(path, b"before")
    with contextlib.suppress(KeyError), replacing(path) as out:
        out.write(b"half of it")
        raise KeyError
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_the_crash_points_stand_after_their_durable_steps(tmp_path: Path) -> None:
    path, seen = tmp_path / "part", dict[str, bool]()
    for point, there in (("part.written", False), ("part.renamed", True)):
        crashpoints.arm(point, nth=1, action=lambda: seen.update(there=path.exists()))
        try:
            with replacing(path, written="part.written", renamed="part.renamed") as out:
                out.write(b"x")
        finally:
            crashpoints.disarm()
        assert seen == {"there": there}
        path.unlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_full_or_failing_disk_is_an_error_with_a_way_out(number: int) -> None:
    with pytest.raises(DiskError) as caught, disk_errors("writing a part"):
        raise OSError(number, os.strerror(number))
    assert "writing a part" in caught.value.message
    assert caught.value.hint


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(FileNotFoundError), disk_errors("writing a part"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_a_link_takes_the_place_of_an_older_file(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    link(source, target)
    assert target.samefile(source)
    assert target.read_bytes() == b"new"


def test_across_file_systems_a_link_is_a_copy(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    source, target = tmp_path / "a", other / f"nightkiln-{os.getpid()}"
    source.write_bytes(b"x" * 3_000_000)
    try:
        link(source, target)
        assert sha256_of(target) == sha256_of(source)
    finally:
        target.unlink()


def test_a_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    write_bytes(tmp_path / "x", data)
    assert sha256_of(tmp_path / "x") == (hashlib.sha256(data).hexdigest(), len(data))


def test_making_a_folder_twice_is_fine(tmp_path: Path) -> None:
    make_dir(tmp_path / "a" / "b" / "c")
    make_dir(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
