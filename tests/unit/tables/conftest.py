"""What the tests of tables share: a source file out of bytes, and answers to write."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import OUTPUT_COLUMNS


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., SourceSpec]:
    numbers = itertools.count()

    def make(kind: str, data: bytes, **options: object) -> SourceSpec:
        path = tmp_path / f"{next(numbers)}.{kind}"
        path.write_bytes(data)
        spec = {"kind": kind, "path": str(path), "name": f"in.{kind}", "size_bytes": len(data)}
        return SourceSpec(**spec, sha256="", **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def answered() -> Callable[[Sequence[str | None]], pa.Table]:
    def make(texts: Sequence[str | None]) -> pa.Table:
        count = len(texts)
        failed = [text is None for text in texts]
        columns = {
            "answer": pa.array(texts, pa.string()),
            "status": ["failed" if bad else "ok" for bad in failed],
            "fault": pa.array(["permanent" if bad else None for bad in failed], pa.string()),
            "fault_message": pa.array(['no, "never"' if bad else None for bad in failed]),
            "finish_reason": ["stop"] * count,
            "input_tokens": pa.array([12] * count, pa.int64()),
            "cached_tokens": pa.array([0] * count, pa.int64()),
            "output_tokens": pa.array([34] * count, pa.int64()),
            "cost_usd": pa.array([None if bad else 0.000123 for bad in failed], pa.float64()),
            "latency_ms": pa.array([5.5] * count, pa.float64()),
            "attempts": pa.array([1] * count, pa.int32()),
            "backend": ["openai"] * count,
        }
        return pa.table({name: columns[name] for name in OUTPUT_COLUMNS}).cast(SCHEMA)

    return make


SCHEMA = pa.schema(
    [
        (name, kind)
        for name, kind in zip(
            OUTPUT_COLUMNS,
            [pa.string()] * 5 + [pa.int64()] * 3 + [pa.float64()] * 2 + [pa.int32(), pa.string()],
            strict=True,
        )
    ]
)
