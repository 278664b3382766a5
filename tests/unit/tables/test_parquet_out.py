"""Parquet out: one file, the input's types and ours."""

import io
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.tables.base import OUTPUT_COLUMNS, WriteOptions
from nightkiln.tables.parquet_out import GROUP_ROWS, ParquetWriter

Answered = Callable[[Sequence[str | None]], pa.Table]


def test_types_stay_and_ours_are_fixed(answered: Answered) -> None:
    inputs = pa.table(
        {
            "t": pa.array([0, None], pa.timestamp("ns", "UTC")),
            "k": pa.array(["a", "b"]).dictionary_encode(),
            "l": pa.array([["x"], None], pa.large_list(pa.large_string())),
        }
    )
    out = io.BytesIO()
    assert (
        ParquetWriter(("t", "k", "l"), source="parquet").write(
            out, [(inputs, answered(["x", None]))]
        )
        == 2
    )
    found = pq.read_table(io.BytesIO(out.getvalue()))
    assert found.select(["t", "k", "l"]).equals(inputs)
    assert found.column_names == [*inputs.column_names, *OUTPUT_COLUMNS]
    assert found.schema.field("output_tokens").type == pa.int64()
    assert found.schema.field("cost_usd").type == pa.float64()
    assert found.schema.field("attempts").type == pa.int64()
    assert found.column("answer").to_pylist() == ["x", None]


def test_fields_of_the_schema_have_its_types(answered: Answered) -> None:
    properties = {
        "s": {"type": "string"},
        "i": {"type": ["integer", "null"]},
        "f": {"type": "number"},
        "b": {"type": "boolean"},
        "j": {"type": "array"},
        "e": {"enum": [1, "x"]},
    }
    rows = [
        '{"s": "x", "i": 2.0, "f": 1, "b": true, "j": [1, 2], "e": "x"}',
        '{"i": null, "e": 1}',
        '{"i": 9223372036854775808}',
        None,
    ]
    writer = ParquetWriter(
        ("n",),
        source="csv",
        fields=tuple(properties),
        options=WriteOptions(output_schema=json.dumps({"properties": properties})),
    )
    out = io.BytesIO()
    writer.write(out, [(pa.table({"n": ["1", "2", "3", "4"]}), answered(rows))])
    found = pq.read_table(io.BytesIO(out.getvalue()))
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.string()]
    assert [found.schema.field(name).type for name in properties] == kinds
    assert found.select(list(properties)).to_pylist() == [
        {"s": "x", "i": 2, "f": 1.0, "b": True, "j": "[1,2]", "e": '"x"'},
        {"s": None, "i": None, "f": None, "b": None, "j": None, "e": "1"},
        dict.fromkeys(properties),
        dict.fromkeys(properties),
    ]
    (notice,) = writer.notices
    assert notice.startswith('whole numbers of "i" beyond 64 bits: 1; they are empty')


def test_keys_of_json_lines_are_columns_of_text(answered: Answered) -> None:
    inputs = pa.table({"line": ['{"a": 1, "b": {"c": [1]}}', '{"b": "x"}']})
    out = io.BytesIO()
    ParquetWriter(("a", "b"), source="jsonl").write(out, [(inputs, answered(["x", "y"]))])
    found = pq.read_table(io.BytesIO(out.getvalue()), columns=["a", "b"])
    assert found.to_pylist() == [{"a": "1", "b": '{"c":[1]}'}, {"a": "", "b": "x"}]


def test_small_pieces_become_large_row_groups(answered: Answered) -> None:
    answers = answered(["x"] * 1000)
    inputs = pa.table({"n": range(1000)})
    out = io.BytesIO()
    pieces = [(inputs, answers)] * 200
    assert ParquetWriter(("n",), source="parquet").write(out, pieces) == 200_000
    meta = pq.read_metadata(io.BytesIO(out.getvalue()))
    groups = [meta.row_group(index).num_rows for index in range(meta.num_row_groups)]
    assert len(groups) == 2
    assert groups[0] >= GROUP_ROWS


def test_a_table_without_rows_still_has_its_columns() -> None:
    out = io.BytesIO()
    assert ParquetWriter(("n",), source="csv").write(out, []) == 0
    assert pq.read_table(io.BytesIO(out.getvalue())).column_names == ["n", *OUTPUT_COLUMNS]
