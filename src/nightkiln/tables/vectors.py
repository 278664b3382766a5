"""Embeddings as a column of vectors: the JSON list of an answer as numbers of four bytes.

Four bytes are what models compute with and what vector stores keep; the text of
the answer has the digits as they came. A row without a result has no vector.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.core.job import JobSpec, Task

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDING: Final = "embedding"  # the column's name, where it stands for `answer`
_decode: Final = msgspec.json.Decoder(list[float]).decode


def gives_vectors(spec: JobSpec) -> bool:
    """True for a job with one vector a row; a line of a batch may ask for several."""
    return spec.task is Task.EMBEDDING and spec.source.batch is None


def vector_type() -> "pa.DataType":
    """The type of the column."""
    import pyarrow as pa

    return pa.list_(pa.float32())


def vectors_of(answers: "pa.Array") -> "pa.Array":
    """A column of answers' texts as vectors; null stays null."""
    import pyarrow as pa

    texts = answers.to_pylist()
    return pa.array([None if text is None else _decode(text) for text in texts], vector_type())
