"""JSONL in: each non-empty line one JSON object, checked once and then kept as it came.

A row is the user's own bytes in the column `line`; nothing is decoded and
encoded again, so numbers keep their digits and keys their order. What another
JSON parser down the line might trip over (NaN, halves of surrogate pairs, NUL,
very deep nesting) makes a bad row here, where the line can still be named. The
`line` of a bad row has what could be read, null in place of values that none
may see, and is `{}` where nothing could: so nobody after us has to know of it.
"""

import json
from collections.abc import Iterator
from typing import Final

import msgspec

from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import Flaw, bad_row, with_flaws
from nightkiln.tables.base import BLOCK_BYTES, LINE_COLUMN, BadRow, Block, Place
from nightkiln.tables.cleantext import holds_nul
from nightkiln.tables.columns import listed
from nightkiln.tables.lines import LONG, TOO_LONG, Lines, open_lines

NESTING_LIMIT: Final = 128
_NOTHING: Final = b"{}"  # stands for a row that could not be read
_TOO_DEEP: Final = Flaw(f"nested deeper than {NESTING_LIMIT} levels", "flatten the object")
_TOO_LARGE: Final = Flaw("a number too large to keep", "write it as a string")
_HALF: Final = Flaw(
    "half of a surrogate pair, which is no character",
    "write the character itself, or both halves: \\ud83d\\ude00",
)
_NUL: Final = Flaw("a NUL character (\\u0000) in a text", "leave it out")
_ESCAPED_NUL: Final = b"\\u0000"
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
                taken = work.take(rows if limit is None else min(rows, limit - row), row)
                if not taken.texts:
                    return
                row += len(taken.texts)
                place = Place(
                    offset=lines.offset, line=lines.line, row=row, columns=tuple(work.keys)
                )
                yield _block(taken, place)


class _Flawed(Exception):
    """A line that is JSON and yet no row."""

    def __init__(self, flaw: Flaw, *, kept: bytes = _NOTHING) -> None:
        super().__init__(flaw.reason)
        self.flaw = flaw
        self.kept = kept  # the object as far as it can be had


class _Taken:
    """The rows of one block."""

    def __init__(self, first_row: int, *, with_ids: bool) -> None:
        self.texts: list[bytes] = []
        self.starts: list[int] = []
        self.ids: list[str | None] | None = [] if with_ids else None
        self.bad: list[BadRow] = []
        self._first_row = first_row

    def spoil(self, lines: Lines, flawed: _Flawed, line: bytes) -> None:
        """Add a row that could not be read, or not as a whole."""
        text = lines.cut_head if line is TOO_LONG else line
        row = self._first_row + len(self.texts)
        self.bad.append(bad_row(row, lines.line, flawed.flaw, text))
        self.texts.append(flawed.kept)
        self.starts.append(lines.line)
        if self.ids is not None:
            self.ids.append(None)


class _Objects:
    """The objects of a file; collects the keys it meets, in order of first sight."""

    def __init__(self, lines: Lines, keys: tuple[str, ...], id_key: str | None) -> None:
        self.keys = dict.fromkeys(keys)
        self._lines = lines
        self._source = iter(lines)
        self._id_key = id_key

    def take(self, count: int, first_row: int) -> _Taken:
        """Up to `count` rows; empty lines are none."""
        lines, keys, id_key = self._lines, self.keys, self._id_key
        decode = msgspec.json.decode
        taken = _Taken(first_row, with_ids=id_key is not None)
        texts, starts, ids = taken.texts, taken.starts, taken.ids
        size = 0
        for line in self._source:
            lines.record_done()
            text = line.strip(_SPACE)
            if not text:
                continue
            try:
                value = decode(text)
                if type(value) is not dict:
                    raise _Flawed(_not_an_object(text))
                if len(text) > _SHORTEST_DEEP:
                    _check_depth(text, value)
                if ids is not None and id_key is not None:
                    ids.append(_id_of(value, id_key))
                if not value.keys() <= keys.keys():
                    keys.update(dict.fromkeys(value))
                texts.append(text)
                starts.append(lines.line)
                size += len(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _Flawed) as exc:
                self._add_unusual(taken, line, text, exc)
                size += len(text)
            if len(texts) == count or size >= BLOCK_BYTES:
                break
        return taken

    def _add_unusual(self, taken: _Taken, line: bytes, text: bytes, exc: Exception) -> None:
        """Add a row that the quick way did not take: mostly a bad one."""
        try:
            value = _second_look(self._lines, line, text, exc)
            if taken.ids is not None and self._id_key is not None:
                taken.ids.append(_id_of(value, self._id_key))
        except _Flawed as flawed:
            taken.spoil(self._lines, flawed, line)
            self.keys.update(dict.fromkeys(msgspec.json.decode(flawed.kept)))
        else:
            self.keys.update(dict.fromkeys(value))
            taken.texts.append(text)
            taken.starts.append(self._lines.line)


def _block(taken: _Taken, end: Place) -> Block:
    import pyarrow as pa

    texts = pa.array(taken.texts, pa.string())
    block = Block(
        rows=pa.RecordBatch.from_arrays([texts], names=[LINE_COLUMN]),
        ids=None if taken.ids is None else pa.array(taken.ids, pa.string()),
        lines=(taken.starts[0], taken.starts[-1]),
        starts=tuple(taken.starts),
        bad=tuple(taken.bad),
        end=end,
    )
    # One search through all the characters of a block is cheaper than one per row.
    if _ESCAPED_NUL in texts.buffers()[2].to_pybytes():
        return _without_nul(block, taken)
    return block


def _without_nul(block: Block, taken: _Taken) -> Block:
    """The block with its rows that hold a NUL made bad."""
    import pyarrow as pa

    found = [index for index, text in enumerate(taken.texts) if _holds_nul(text)]
    if not found:
        return block
    block = with_flaws(block, dict.fromkeys(found, _NUL))
    for index in found:
        taken.texts[index] = _readable(msgspec.json.decode(taken.texts[index]))
        if taken.ids is not None:
            taken.ids[index] = None
    return msgspec.structs.replace(
        block,
        rows=pa.RecordBatch.from_arrays([pa.array(taken.texts, pa.string())], names=[LINE_COLUMN]),
        ids=None if taken.ids is None else pa.array(taken.ids, pa.string()),
    )


def _holds_nul(text: bytes) -> bool:
    """True when an escaped NUL is one, and not a backslash before `u0000`."""
    if _ESCAPED_NUL not in text:
        return False
    return holds_nul(msgspec.json.decode(text))


def _id_of(value: dict[str, object], key: str) -> str:
    if key not in value:
        raise _Flawed(Flaw(f'no key "{key}" to take the id from; {listed(list(value))}'))
    found = value[key]
    if isinstance(found, str) and found:
        return found
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    what = "is empty" if found in ("", None) else "is neither a string nor a whole number"
    raise _Flawed(Flaw(f'the id in "{key}" {what}'))


def _check_depth(text: bytes, value: object) -> None:
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
        raise _Flawed(_TOO_DEEP)


def _children(parent: object) -> list[object]:
    if isinstance(parent, dict):
        return list(parent.values())
    return parent if isinstance(parent, list) else []


def _not_an_object(text: bytes) -> Flaw:
    if text.startswith(b"["):
        return Flaw("a JSON list where an object is needed", _ARRAY_HINT)
    return Flaw("a JSON value that is no object", 'every line is one object: {"text": "..."}')


def _second_look(lines: Lines, line: bytes, text: bytes, exc: Exception) -> dict[str, object]:
    """The object after all, or _Flawed with what is wrong; the slow way, as there are few."""
    if isinstance(exc, _Flawed):
        raise exc
    if line is TOO_LONG:
        raise _Flawed(LONG)
    if isinstance(exc, RecursionError):
        raise _Flawed(_TOO_DEEP)
    try:
        text.decode()
    except UnicodeDecodeError as bad:
        raise _Flawed(lines.undecodable(line, line.index(text) + bad.start)) from None
    return _diagnosed(text)


def _diagnosed(text: bytes) -> dict[str, object]:
    """What is wrong and what to do, as the more talkative standard parser sees it.

    Nothing is wrong with an integer of thousands of digits: it is kept as text
    like every other value, only no parser makes a number of it.
    """
    constants: list[str] = []
    try:
        value = json.loads(text, parse_constant=constants.append, parse_int=str)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as bad:
        hint = _ARRAY_HINT if text in (b"[", b"{") else ""
        said = bad.msg.removesuffix(" at")  # some of the parser's words end so, others do not
        raise _Flawed(Flaw(f"not JSON: {said} at character {bad.pos + 1}", hint)) from None
    except RecursionError:
        raise _Flawed(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise _Flawed(_HALF, kept=_rest(text)) from None
    except ValueError:  # 1e999 has become an infinity
        raise _Flawed(_TOO_LARGE, kept=_rest(text)) from None
    if constants:
        flaw = Flaw(f"{constants[0]} is not JSON", "write null instead")
        raise _Flawed(flaw, kept=_rest(text))
    if not isinstance(value, dict):
        raise _Flawed(_not_an_object(text))
    _check_depth(text, value)
    return value


def _rest(text: bytes) -> bytes:
    """What can be had of an object that has something in it that no other parser would take."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            return _NOTHING
        _check_depth(text, value)
        return _readable(value)
    except (ValueError, _Flawed):  # a number of thousands of digits, or nesting without an end
        return _NOTHING


def _readable(value: dict[str, object]) -> bytes:
    """An object with null for the values that nobody may see, without keys of that kind."""
    pieces = []
    for key, inner in value.items():
        name = _plainly(key)
        if name is not None:
            pieces.append(name + b":" + (_plainly(inner) or b"null"))
    return b"{" + b",".join(pieces) + b"}"


def _plainly(value: object) -> bytes | None:
    """A value as JSON that everybody takes, or None."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # infinities, and halves of surrogate pairs
        return None
    return None if _ESCAPED_NUL in text and holds_nul(value) else text
