"""Typed columns checked for what is no text: a NUL, and bytes that are no UTF-8.

Files of text are checked line by line where they are read. A Parquet file, a
workbook and a frame bring whole columns, whose makers promised text and are
sometimes wrong; so a value with a NUL, or with half of a surrogate pair in it,
makes its row a bad one here, in whichever column it stands, also inside lists
and structs. Arrow searches a column at a time; single values are looked at only
where it found something. The values themselves become null.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.tables.badrows import Flaw, with_flaws
from nightkiln.tables.base import Block

if TYPE_CHECKING:
    import pyarrow as pa

_NUL: Final = "\0"


def with_clean_texts(block: Block) -> Block:
    """The block, its rows that hold what is no text made bad."""
    no_text: dict[int, Flaw] = {}
    nuls: dict[int, Flaw] = {}
    for name, column in zip(block.rows.schema.names, block.rows.columns, strict=True):
        if not _is_suspect(column):
            continue
        for index in range(len(column)):
            try:
                (value,) = column.slice(index, 1).to_pylist()
            except UnicodeDecodeError as error:
                reason = f'column "{name}" is no UTF-8 at byte {error.start} of its value'
                no_text.setdefault(index, Flaw(reason, "write it as UTF-8"))
                continue
            if holds_nul(value):
                reason = f'a NUL character in column "{name}"'
                nuls.setdefault(index, Flaw(reason, "leave it out"))
    # What cannot be decoded cannot be shown either, so it goes before the flaws are written.
    block = with_flaws(_without(block, no_text, undecodable=True), {**nuls, **no_text})
    return _without(block, nuls, undecodable=False)


def holds_nul(value: object) -> bool:
    """True for a text with a NUL, and for whatever holds one."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if _NUL in text:
                return True
            case dict() as pairs:
                waiting += [*pairs.keys(), *pairs.values()]
            case list() | tuple() as values:
                waiting += values
    return False


def _is_suspect(column: "pa.Array") -> bool:
    """True when a search through a whole column finds what is no text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for leaf in _leaves(column):
        try:
            leaf.validate(full=True)
        except pa.ArrowInvalid:
            return True
        if pc.any(pc.match_substring(leaf.cast(pa.large_string()), _NUL)).as_py():
            return True
    return False


def _leaves(column: "pa.Array") -> "Iterator[pa.Array]":
    """The texts that a column is made of."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _leaves(column.storage)
    elif kinds.is_dictionary(kind):
        yield from _leaves(column.dictionary)
    elif kinds.is_struct(kind):
        for field in column.flatten():
            yield from _leaves(field)
    elif kinds.is_map(kind):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif kinds.is_nested(kind):
        yield from _leaves(column.flatten())
    elif kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        yield column


def _without(block: Block, found: dict[int, Flaw], *, undecodable: bool) -> Block:
    """The block with null for the values that make these rows bad; the others stay."""
    import pyarrow as pa

    if not found:
        return block
    columns = []
    for column in block.rows.columns:
        places: list[int | None] = list(range(len(column)))
        for index in found if _is_suspect(column) else ():
            if _is_no_text(column.slice(index, 1), undecodable=undecodable):
                places[index] = None
        columns.append(column if None not in places else column.take(pa.array(places, pa.int64())))
    rows = pa.RecordBatch.from_arrays(columns, schema=block.rows.schema)
    return msgspec.structs.replace(block, rows=rows)


def _is_no_text(one: "pa.Array", *, undecodable: bool) -> bool:
    try:
        (value,) = one.to_pylist()
    except UnicodeDecodeError:
        return True
    return not undecodable and holds_nul(value)
