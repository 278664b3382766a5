"""Parquet out, in one file: the input's columns with their types, then ours with theirs.

Rows gather to row groups of a size that readers like. The file goes out front
to back, so it can be a pipe. Keys of JSONL rows are columns of text. Embeddings
are a column of vectors, `embedding`, where other jobs have `answer`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from nightkiln.tables.answertypes import AnswerColumns
from nightkiln.tables.base import WriteOptions
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.tables.pieces import bounded
from nightkiln.tables.streams_out import forwarded
from nightkiln.tables.vectors import EMBEDDING, vector_type, vectors_of

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS: Final = 128 * 1024
GROUP_BYTES: Final = 32 * 1024 * 1024


class ParquetWriter:
    """Writes one Parquet file."""

    def __init__(
        self,
        columns: Sequence[str],
        *,
        source: str,
        fields: Sequence[str] = (),
        options: WriteOptions | None = None,
    ) -> None:
        self.notices: list[str] = []
        self._inputs = InputColumns(columns, source=source)
        options = options or WriteOptions()
        self._vectors = options.vectors
        self._ours = AnswerColumns(fields, options.output_schema)
        self._names = [*self._inputs.names, *self._ours.names]
        if self._vectors:
            self._names[len(self._inputs.names)] = EMBEDDING

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        writer: pq.ParquetWriter | None = None
        rows = 0
        try:
            for group in self._groups(pieces):
                if writer is None:
                    writer = self._opened(out, group.schema)
                writer.write_table(group, row_group_size=max(1, group.num_rows))
                rows += group.num_rows
            if writer is None:
                kinds = [pa.string()] * len(self._inputs.names) + self._ours.types()
                if self._vectors:
                    kinds[len(self._inputs.names)] = vector_type()
                writer = self._opened(out, pa.schema(list(zip(self._names, kinds, strict=True))))
        finally:
            if writer is not None:
                writer.close()
        self.notices = self._ours.notices()
        return rows

    @staticmethod
    def _opened(out: BinaryIO, schema: "pa.Schema") -> "pq.ParquetWriter":  # type: ignore[name-defined]  # noqa: F821
        import pyarrow.parquet as pq

        return pq.ParquetWriter(forwarded(out), schema, compression="zstd")

    def _groups(self, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> Iterator["pa.Table"]:
        import pyarrow as pa

        held: list[pa.Table] = []
        rows = size = 0
        for inputs, answers in bounded(pieces):
            ours = self._ours.take(answers)
            if self._vectors:
                ours[0] = vectors_of(ours[0])  # in place of the answers' text
            columns = self._inputs.take(inputs) + ours
            held.append(pa.Table.from_arrays(columns, names=self._names))
            rows += inputs.num_rows
            size += held[-1].nbytes
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                yield pa.concat_tables(held)
                held, rows, size = [], 0, 0
        if held:
            yield pa.concat_tables(held)
