"""JSONL in: each non-empty line one JSON object, checked once and then kept as it came.

A row is the user's own bytes in the column `line`; nothing is decoded and
encoded again, so numbers keep their digits and keys their order. What another
JSON parser down the line might trip over (NaN, halves of surrogate pairs, very
deep nesting) is refused here, where the line can still be named.
"""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import BLOCK_BYTES, LINE_COLUMN, Block, Place
from nightkiln.tables.columns import listed
from nightkiln.tables.lines import Lines, open_lines

NESTING_LIMIT: Final = 128
_TOO_DEEP: Final = (f"nested deeper than {NESTING_LIMIT} levels", "flatten the object")
_ARRAY_HINT: Final = "JSONL has one object per line: jq -c '.[]' IN.json > OUT.jsonl"
_SPACE: Final = b" \t\r\n"
_SHORTEST_DEEP: Final = 2 * NESTING_LIMIT  # bytes below which nesting cannot be too deep


class JsonlReader:
    """Reads one JSONL file."""

    def __init__(self, source: SourceSpec) -> None:
        self._source = source

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory.

        `end.columns` is the union of the top-level keys so far.
        """
        limit = self._source.limit
        row = start.row
        with open_lines(self._source, start) as lines:
            work = _Objects(lines, start.columns, self._source.id_column)
            while limit is None or row < limit:
                taken = work.take(rows if limit is None else min(rows, limit - row))
                if not taken.texts:
                    return
                row += len(taken.texts)
                place = Place(
                    offset=lines.offset, line=lines.line, row=row, columns=tuple(work.keys)
                )
                yield _block(taken, place)


class _Taken(NamedTuple):
    """The rows of one block."""

    texts: list[bytes]
    starts: list[int]
    ids: list[str] | None


class _Objects:
    """The objects of a file; collects the keys it meets, in order of first sight."""

    def __init__(self, lines: Lines, keys: tuple[str, ...], id_key: str | None) -> None:
        self.keys = dict.fromkeys(keys)
        self._lines = lines
        self._source = iter(lines)
        self._id_key = id_key

    def take(self, count: int) -> _Taken:
        """Up to `count` rows; empty lines are none."""
        lines, keys, id_key = self._lines, self.keys, self._id_key
        decode = msgspec.json.decode
        texts: list[bytes] = []
        starts: list[int] = []
        ids: list[str] | None = None if id_key is None else []
        size = 0
        for line in self._source:
            lines.record_done()
            text = line.strip(_SPACE)
            if not text:
                continue
            try:
                value = decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                raise _explained(lines, line, text, exc) from None
            if type(value) is not dict:
                raise _not_an_object(lines, text)
            if len(text) > _SHORTEST_DEEP:
                _check_depth(lines, text, value)
            if not value.keys() <= keys.keys():
                keys.update(dict.fromkeys(value))
            if ids is not None and id_key is not None:
                ids.append(_id_of(lines, value, id_key))
            texts.append(text)
            starts.append(lines.line)
            size += len(text)
            if len(texts) == count or size >= BLOCK_BYTES:
                break
        return _Taken(texts, starts, ids)


def _block(taken: _Taken, end: Place) -> Block:
    import pyarrow as pa

    return Block(
        rows=pa.RecordBatch.from_arrays([pa.array(taken.texts, pa.string())], names=[LINE_COLUMN]),
        ids=None if taken.ids is None else pa.array(taken.ids, pa.string()),
        lines=(taken.starts[0], taken.starts[-1]),
        starts=tuple(taken.starts),
        end=end,
    )


def _id_of(lines: Lines, value: dict[str, object], key: str) -> str:
    if key not in value:
        raise lines.error(f'no key "{key}" to take the id from; {listed(list(value))}')
    found = value[key]
    if isinstance(found, str) and found:
        return found
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    what = "is empty" if found in ("", None) else "is neither a string nor a whole number"
    raise lines.error(f'the id in "{key}" {what}')


def _check_depth(lines: Lines, text: bytes, value: object) -> None:
    # Counting brackets is cheap and counts those inside strings too, so it can
    # only send too many objects to the exact count.
    if text.count(b"[") + text.count(b"{") <= NESTING_LIMIT:
        return
    level: list[object] = [value]
    for _ in range(NESTING_LIMIT):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    if any(isinstance(item, dict | list) for item in level):
        raise lines.error(_TOO_DEEP[0], hint=_TOO_DEEP[1])


def _children(parent: object) -> list[object]:
    if isinstance(parent, dict):
        return list(parent.values())
    return parent if isinstance(parent, list) else []


def _not_an_object(lines: Lines, text: bytes) -> InputError:
    if text.startswith(b"["):
        return lines.error("a JSON list where an object is needed", hint=_ARRAY_HINT)
    return lines.error(
        "a JSON value that is no object", hint='every line is one object: {"text": "..."}'
    )


def _explained(lines: Lines, line: bytes, text: bytes, exc: Exception) -> InputError:
    """What is wrong with a line that did not decode; the slow way, as it is the last line."""
    if isinstance(exc, RecursionError):
        return lines.error(_TOO_DEEP[0], hint=_TOO_DEEP[1])
    try:
        text.decode()
    except UnicodeDecodeError as bad:
        return lines.undecodable(line, line.index(text) + bad.start)
    what, hint = _diagnosis(text)
    return lines.error(what, hint=hint)


def _diagnosis(text: bytes) -> tuple[str, str]:
    """What is wrong and what to do, as the more talkative standard parser sees it."""
    constants: list[str] = []
    try:
        value = json.loads(text, parse_constant=constants.append)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as bad:
        hint = _ARRAY_HINT if text in (b"[", b"{") else ""
        return f"not JSON: {bad.msg} at character {bad.pos + 1}", hint
    except RecursionError:
        return _TOO_DEEP
    except UnicodeEncodeError:
        return (
            "half of a surrogate pair, which is no character",
            "write the character itself, or both halves: \\ud83d\\ude00",
        )
    except ValueError:  # more digits than Python takes
        return "a number too large to keep", "write it as a string"
    if constants:
        return f"{constants[0]} is not JSON", "write null instead"
    return "a number too large to keep", "write it as a string"
