"""Workbooks made to explode are refused before any parser sees them."""

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from nightkiln.core.errors import InputError
from nightkiln.tables.workbook import Limits, check_workbook

SHEET = "xl/worksheets/sheet1.xml"


def packed(path: Path, parts: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return str(path)


def cell(address: bytes) -> bytes:
    return b'<worksheet><sheetData><row r="1"><c r="A1"/>' + address + b"</row></sheetData>"


def refused(path: str, **limits: int) -> str:
    with pytest.raises(InputError) as caught:
        check_workbook(path, "in.xlsx", Limits(**limits))
    return caught.value.message


def test_an_ordinary_workbook_passes(tmp_path: Path) -> None:
    check_workbook(packed(tmp_path / "a.xlsx", {SHEET: cell(b'<c r="Z9"/>')}), "in.xlsx")


def test_too_many_parts_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.xlsx", {f"{n}.xml": b"x" for n in range(11)})
    assert "11 parts; at most 10" in refused(path, entries=10)


def test_too_many_bytes_are_refused_by_what_the_directory_says(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.xlsx", {SHEET: b"x" * 3_000_000})
    assert "2 MB inflated; at most 1 MB" in refused(path, total_bytes=1 << 20)


def test_a_part_that_inflates_a_thousand_times_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.xlsx", {SHEET: b"\0" * (20 << 20)})
    assert "inflates" in refused(path)


def test_a_part_that_is_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    packed(path, {SHEET: b"x" * 5_000_000})
    data = bytearray(path.read_bytes())
    small = struct.pack("<I", 10)
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = small  # the size in the directory
    data[22:26] = small  # and in the local header
    path.write_bytes(data)
    assert "larger than it claims" in refused(str(path))


@pytest.mark.parametrize(
    "far",
    [
        b'<c r="XFD1048576"/>',
        b"<c r='xfd1048576'/>",
        b'<c t="s" s="1" r="XFD1048576"><v>1</v></c>',
        b'<c x=">" r = "XFD1048576"/>',
        b'<x:c r="XFD1048576"/>',
        b"<c" + b" " * 300_000 + b'r="XFD1048576"/>',
        b'<row r="1048576"><c r="XFD1"/></row>',
        b"<c\n\tr='XFD1048576'/>",
    ],
    ids=range(8),
)
@pytest.mark.parametrize("shift", [0, 262_144 - 60])
def test_cells_that_are_far_apart_are_refused(tmp_path: Path, far: bytes, shift: int) -> None:
    path = packed(tmp_path / "a.xlsx", {SHEET: cell(b"<!-- " + b"." * shift + b" -->" + far)})
    assert "cells as far apart as row 1048576" in refused(path)


def test_a_tag_without_an_end_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.xlsx", {SHEET: b"<c " + b" x" * 1_500_000})
    assert "a tag longer than a megabyte" in refused(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"a,b\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    ids=["empty", "csv", "cut", "xls"],
)
def test_what_is_no_zip_is_no_workbook(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(data)
    assert "is no XLSX workbook" in refused(str(tmp_path / "a.xlsx"))


def test_a_part_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    packed(path, {SHEET: zlib.compress(bytes(range(256)) * 400)})
    data = bytearray(path.read_bytes())
    start = 30 + len(SHEET)
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    assert "is no XLSX workbook" in refused(str(path))
