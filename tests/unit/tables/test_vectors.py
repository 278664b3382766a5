"""Embeddings as columns of vectors."""

import io
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightkiln.tables.base import OUTPUT_COLUMNS, WriteOptions
from nightkiln.tables.parquet_out import ParquetWriter
from nightkiln.tables.vectors import vectors_of


def test_the_text_of_a_vector_becomes_its_numbers() -> None:
    made = vectors_of(pa.array(["[0.5,-1e-3,2]", None, "[1]"]))
    assert made.type == pa.list_(pa.float32())
    assert made.to_pylist() == [[0.5, pytest.approx(-0.001), 2.0], None, [1.0]]


@pytest.mark.parametrize("texts", [["[0.5]", None], []])
def test_a_parquet_file_of_embeddings_has_a_column_of_vectors(
    answered: Callable[[Sequence[str | None]], pa.Table], texts: list[str | None]
) -> None:
    out = io.BytesIO()
    writer = ParquetWriter(("a",), source="csv", options=WriteOptions(vectors=True))
    pieces = [(pa.table({"a": ["x"] * len(texts)}), answered(texts))] if texts else []
    assert writer.write(out, pieces) == len(texts)
    found = pq.read_table(io.BytesIO(out.getvalue()))
    assert found.column_names == ["a", "embedding", *OUTPUT_COLUMNS[1:]]
    assert found.column("embedding").type.value_type == pa.float32()
    assert found.column("embedding").to_pylist() == [[0.5], None][: len(texts)]
