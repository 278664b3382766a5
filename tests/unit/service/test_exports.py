"""Tables of ended jobs in every format, compressed too, with what belongs beside them."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine

from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec
from nightkiln.service.orders import Order
from nightkiln.service.results import check_output, export

from .conftest import Kilnful


@pytest.fixture
def order(tmp_path: Path) -> Order:
    path = tmp_path / "in.parquet"
    table = pa.table({"n": [1, 2], "s": ["=1+1", "x" * 40_000]})
    pq.write_table(table, path)
    return Order(
        input=str(path),
        output=None,
        prompt=PromptSpec(columns=("s",)),
        model="m",
        endpoint="http://x/v1",
    )


async def test_every_format_has_the_rows(kiln: Kilnful, order: Order, tmp_path: Path) -> None:
    job = await kiln.ended(order)
    for name in ("out.csv", "out.csv.gz", "out.tsv.zst", "out.jsonl.gz", "out.parquet"):
        assert await export(kiln.context, job, str(tmp_path / name), None) == 2
    plain = (tmp_path / "out.csv").read_bytes()
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == plain
    with pa.input_stream(str(tmp_path / "out.tsv.zst"), compression="zstd") as packed:
        assert packed.read().startswith(b"n\ts\tanswer\t")
    lines = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]
    assert pq.read_table(tmp_path / "out.parquet").column("n").to_pylist() == [1, 2]


async def test_a_workbook_has_its_side_file_as_long_as_it_needs_one(
    kiln: Kilnful, order: Order, tmp_path: Path
) -> None:
    job = await kiln.ended(order)
    said: list[str] = []
    out, side = tmp_path / "out.xlsx", tmp_path / "out.xlsx.overflow.jsonl"
    await export(kiln.context, job, str(out), None, notice=said.append)
    sheet = python_calamine.CalamineWorkbook.from_path(out).get_sheet_by_index(0)
    rows = list(sheet.iter_rows())
    assert [row[:2] for row in rows][:2] == [["n", "s"], [1, "=1+1"]]
    overflow = [json.loads(line) for line in side.read_text().splitlines()]
    assert {(line["row"], line["column"]) for line in overflow} >= {(1, "s")}
    assert any(str(side) in text for text in said)

    short = tmp_path / "short.parquet"
    pq.write_table(pa.table({"n": [1], "s": ["short"]}), short)
    other = Order(
        input=str(short), output=None, prompt=order.prompt, model="m", endpoint="http://x/v1"
    )
    said.clear()
    await export(kiln.context, await kiln.ended(other), str(out), None, notice=said.append)
    assert not side.exists()
    assert said == []


async def test_excel_safe_is_for_text_cells(kiln: Kilnful, order: Order, tmp_path: Path) -> None:
    job = await kiln.ended(order)
    out = tmp_path / "out.csv"
    await export(kiln.context, job, str(out), None, excel_safe=True)
    assert out.read_text().splitlines()[1].startswith("1,'=1+1,")
    for name in ("out.xlsx", "out.jsonl", "dataset/"):
        with pytest.raises(UsageError, match="excel-safe is for CSV and TSV"):
            await export(kiln.context, job, f"{tmp_path}/{name}", None, excel_safe=True)


def test_a_workbook_cannot_go_to_standard_output() -> None:
    with pytest.raises(UsageError, match="a workbook cannot go to standard output"):
        check_output("-", "xlsx", source="csv", source_path="in.csv")
    assert check_output("-", None, source="tsv", source_path="in.tsv") == "tsv"
    assert check_output("-", "csv.gz", source="tsv", source_path="in.tsv") == "csv"
