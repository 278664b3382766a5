"""OpenAI's batch lines in: JSONL whose every line names its route and carries a whole body.

The lines are read and kept as JSONL is; here each is held against the first good
one, for a batch asks one route and one model. The id of a row is its
`custom_id`. What is wrong with a line is a flaw with OpenAI's code for it, and
the line keeps its place like any other bad row.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import BatchHead, SourceSpec, Task
from nightkiln.tables.badrows import Flaw, with_flaws
from nightkiln.tables.base import LINE_COLUMN, Block, Place
from nightkiln.tables.jsonl_in import JsonlReader
from nightkiln.wire.batchlines import URLS, BatchLine, Wrong, has_batch_keys, read_line

if TYPE_CHECKING:
    import pyarrow as pa

BATCH: Final = "batch"
ID: Final = "custom_id"
BODY: Final = "body"
_UNREADABLE: Final = "invalid_json_line"
_HEAD_ROWS: Final = 100
_ANY: Final = BatchHead()


class BatchReader:
    """Reads one file of batch lines."""

    def __init__(self, source: SourceSpec) -> None:
        self._name = source.name
        self._head = source.batch or _ANY
        self._lines = _reader(source)

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        seen = bool(start.row)
        for block in self._lines.blocks(start, rows=rows):
            seen = True
            yield self._checked(block)
        if not seen:
            raise no_lines(self._name)

    def _checked(self, block: Block) -> Block:
        """The block with its custom ids, and with a flaw for every line that is none of ours."""
        import pyarrow as pa

        first = block.end.row - block.rows.num_rows
        unread = {bad.row - first for bad in block.bad}
        flaws: dict[int, Flaw] = {}
        ids: list[str | None] = []
        for index, text in enumerate(block.rows.column(LINE_COLUMN).to_pylist()):
            found = None if index in unread else read_line(text, self._head)
            ids.append(found.custom_id if isinstance(found, BatchLine) else _id_in(text))
            if isinstance(found, Wrong):
                flaws[index] = Flaw(found.message, "", found.code, found.param)
        bad = tuple(
            one if one.code else msgspec.structs.replace(one, code=_UNREADABLE) for one in block.bad
        )
        named = msgspec.structs.replace(block, ids=pa.array(ids, pa.string()), bad=bad)
        return with_flaws(named, flaws)


class _Named(msgspec.Struct):
    custom_id: str | None = None


def _id_in(text: str | None) -> str | None:
    """The custom id of a line that is no good otherwise, where it has one."""
    try:
        return msgspec.json.decode(text or "{}", type=_Named).custom_id or None
    except (msgspec.DecodeError, RecursionError):
        return None


def recognised(source: SourceSpec, *, said: bool) -> SourceSpec:
    """The source as a batch, if its first line is one of OpenAI's or `said` says that it is.

    Reads the beginning of the file; further only where no line of it is good.
    Raises UsageError, InputError.
    """
    if not said and not (source.kind == "jsonl" and _begins_like_one(source)):
        return source
    if not source.size_bytes:
        raise no_lines(source.name)
    if source.id_column not in (None, ID):
        raise UsageError(
            "--id-column is not for batch lines: their ids are their custom_id",
            hint="leave out --id-column, or read the file as --format jsonl",
        )
    batch = msgspec.structs.replace(source, kind=BATCH, id_column=ID, batch=_ANY)
    return msgspec.structs.replace(batch, batch=_head_of(batch))


def no_lines(name: str) -> InputError:
    """What is said of a file without a request."""
    return InputError(
        f"{name} has no lines", hint="give a file with at least one request", reason="empty_file"
    )


def of_any_model(source: SourceSpec) -> SourceSpec:
    """The same batch, whose lines may name different models: another one answers them all."""
    head = msgspec.structs.replace(source.batch or _ANY, model=None)
    return msgspec.structs.replace(source, batch=head)


def named_repeated(flaw: Flaw) -> Flaw:
    """The flaw of a custom id that an earlier line has, with OpenAI's code for it."""
    return flaw._replace(code="duplicate_custom_id", param=ID)


def task_of(source: SourceSpec) -> Task:
    """The kind of request that the lines of a batch ask for."""
    return URLS.get("" if source.batch is None else source.batch.url, Task.CHAT)


def _begins_like_one(source: SourceSpec) -> bool:
    block = next(_reader(source).blocks(Place(), rows=1), None)
    return block is not None and has_batch_keys(block.rows.column(LINE_COLUMN)[0].as_py() or "")


def model_named(batch: SourceSpec, url: str, *, most: int) -> str | None:
    """The model of the first good line for a route that names one, among so many lines.

    Raises InputError for a file that cannot be read as a whole.
    """
    head, seen = BatchHead(url=url), 0
    for block in _reader(batch).blocks(Place(), rows=_HEAD_ROWS):
        for text in block.rows.column(LINE_COLUMN).to_pylist():
            line = read_line(text or "", head)
            if isinstance(line, BatchLine) and line.body.model is not None:
                return line.body.model
        seen += block.rows.num_rows
        if seen >= most:
            break
    return None


def _head_of(batch: SourceSpec) -> BatchHead:
    for block in _reader(batch).blocks(Place(), rows=_HEAD_ROWS):
        for text in block.rows.column(LINE_COLUMN).to_pylist():
            line = read_line(text or "", _ANY)
            if isinstance(line, BatchLine):
                return BatchHead(url=line.url, model=line.body.model)
    return _ANY


def _reader(source: SourceSpec) -> JsonlReader:
    return JsonlReader(msgspec.structs.replace(source, kind="jsonl", id_column=None))


def bodies(table: "pa.Table") -> list[msgspec.Raw]:
    """The bodies of a batch's rows, as they came; empty for a bad row."""
    lines: list[str | None] = table.column(LINE_COLUMN).to_pylist()
    return [_body(line or "{}").body for line in lines]


class _Bodied(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw()


_body: Final = msgspec.json.Decoder(_Bodied).decode
