"""Prompts by a Jinja template, rendered in a process of its own; see `jinja_child` for why.

Jinja is imported there and never here. What is broken in a template is a
UsageError before anything is spent; a row that cannot be rendered, or that
breaks a limit, is a fault of that row and of no other.

When the process dies, the rows it has told stay; the others go to a new process
that tells each row before it begins the next. If that one dies too, the first
row without a word is the one to blame.

Whoever asks for texts may say `go_on`, which is called again and again while
they are made, and raises when nobody wants them any more: the process is ended.
"""

import functools
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nightkiln.core.errors import InputError, NightkilnError, UsageError
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.columns import check_present
from nightkiln.tables.jinja_messages import (
    Batch,
    Broken,
    Compile,
    Compiled,
    Failed,
    FromChild,
    Rendered,
    receive,
    send,
)
from nightkiln.tables.values import is_binary, is_number, json_of, texts_of

if TYPE_CHECKING:
    import pyarrow as pa

TEMPLATE_LIMIT: Final = 256 * 1024  # characters
TEMPLATE_FAILED: Final = "template_failed"
PATIENCE_S: Final = 120.0  # for a process that says nothing, on however busy a machine
GRACE_S: Final = 1.0  # for a process to end by itself before it is killed
SLOW_ROWS: Final = 10  # one after the other that take too long: it is not the rows
_LOOK_MS: Final = 200  # between looks whether the texts are still wanted
_BATCH_ROWS: Final = 1000
_BATCH_BYTES: Final = 4 << 20
_SHARED: Final = 4  # templates whose processes stay, in one process of ours
_START: Final = (
    "import sys; sys.path[:] = sys.argv[2:];"
    " from nightkiln.tables.jinja_child import main; main(int(sys.argv[1]))"
)
_NO_NUMBERS: Final = frozenset({"nan", "inf", "-inf"})
_encode: Final = msgspec.json.Encoder().encode


def _wanted() -> None:
    """What `go_on` is where nobody may change his mind."""


class _Gone(Exception):
    """The process has ended, or says nothing any more."""


@functools.lru_cache(maxsize=_SHARED)
def jinja_template(text: str) -> "JinjaTemplate":
    """The template with this text; the same for all who ask, since it owns a process.

    Raises UsageError for one that cannot be read.
    """
    return JinjaTemplate(text)


class JinjaTemplate:
    """A compiled template with the process that renders it. Safe to use from any thread."""

    def __init__(self, text: str) -> None:
        if len(text) > TEMPLATE_LIMIT:
            raise UsageError(
                f"the template has {len(text)} characters; the limit is {TEMPLATE_LIMIT}"
            )
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            raise UsageError("the template has characters that are no Unicode") from problem
        self._text = text
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._names = self._running().names

    @property
    def process_id(self) -> int | None:
        """The id of the process that renders; None without one."""
        return None if self._process is None else self._process.id

    def check(self, columns: Sequence[str]) -> None:
        """Raise UsageError for a name that is no column; says the line and the nearest column."""
        for name in self._names:
            check_present([name.name], columns, what=f"the template, line {name.line},")

    def texts(
        self,
        table: "pa.Table | pa.RecordBatch",
        *,
        is_jsonl: bool,
        go_on: Callable[[], None] = _wanted,
    ) -> list[str | Fault]:
        """The texts of a table's rows, in order; of JSONL each row is a line.

        Raises InputError when row after row takes too long, and what `go_on` raises.
        """
        if is_jsonl:
            lines = [line or "" for line in table.column(LINE_COLUMN).to_pylist()]
            return self.lines(lines, go_on=go_on)
        columns = [_values(column) for column in table.columns]
        rows = [_encode(row) for row in zip(*columns, strict=True)]
        return self._rendered(rows, tuple(table.schema.names), go_on)

    def lines(
        self, lines: Sequence[str], *, go_on: Callable[[], None] = _wanted
    ) -> list[str | Fault]:
        """The texts of rows that are JSON objects, in order."""
        return self._rendered([line.encode() for line in lines], (), go_on)

    def rows(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[str | Fault]:
        """The texts of rows with these columns, in order."""
        return self._rendered([_encode(row) for row in rows], tuple(columns), _wanted)

    def close(self) -> None:
        """End the process; another is started when rows come."""
        with self._lock:
            self._end()

    def _rendered(
        self, rows: Sequence[bytes], columns: tuple[str, ...], go_on: Callable[[], None]
    ) -> list[str | Fault]:
        found: list[str | Fault] = []
        with self._lock:
            try:
                for batch in _batches(rows):
                    found += self._batch(batch, columns, _Slow(go_on))
            finally:
                if len(found) < len(rows):
                    self._end()  # it works on rows that nobody waits for
        return found

    def _batch(
        self, rows: list[bytes], columns: tuple[str, ...], slow: "_Slow"
    ) -> list[str | Fault]:
        """The texts of some rows, over as many processes as it takes."""
        found: list[str | Fault] = []
        careful = False
        while len(found) < len(rows):
            process = self._running()
            batch = Batch(rows[len(found) :], columns, careful)
            try:
                for rendered in process.rendered(batch, slow.go_on):
                    for row in rendered.rows:
                        slow.saw(isinstance(row, Failed) and row.late)
                        found.append(_text(row))
            except _Gone:
                self._end()
                if careful:
                    found.append(_fault(" takes too much time or memory"))
                    slow.saw(True)
                careful = not careful
        return found

    def _running(self) -> "_Process":
        """The process of this template. Raises UsageError when it cannot be compiled."""
        if self._process is not None and self._process.owner != os.getpid():
            self._process = None  # we are a fork: the process is the parent's
        if self._process is None:
            self._process = _Process(self._text)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Slow:
    """Counts the rows one after the other that took too long."""

    def __init__(self, go_on: Callable[[], None]) -> None:
        self.go_on = go_on
        self._rows = 0

    def saw(self, was_late: bool) -> None:
        """One more row. Raises InputError when they were too many."""
        self._rows = self._rows + 1 if was_late else 0
        if self._rows == SLOW_ROWS:
            raise InputError(
                f"the template takes too long: {SLOW_ROWS} rows in a row were given up",
                hint="a row has a second; make the loops of the template smaller",
            )


class _Process:
    """One process with the template in it."""

    def __init__(self, text: str) -> None:
        self.owner = os.getpid()
        self._end, theirs = socket.socketpair()
        self._end.settimeout(PATIENCE_S)
        with theirs:
            child = _started(theirs.fileno())
        self.id = child.pid
        self.end = weakref.finalize(self, _ended, child, self._end, self.owner)
        self.names = self._compiled(text).names

    def _compiled(self, text: str) -> Compiled:
        try:
            send(self._end, Compile(text))
            reply = self._receive()
        except (_Gone, OSError):
            self.end()
            raise UsageError("the template takes too much time or memory to read") from None
        if isinstance(reply, Broken):
            self.end()
            where = f", line {reply.line}" if reply.line else ""
            raise UsageError(f"the template{where}: {reply.message}")
        assert isinstance(reply, Compiled)
        return reply

    def rendered(self, batch: Batch, go_on: Callable[[], None]) -> Iterator[Rendered]:
        """What the process tells of a batch, until all of it is told. Raises _Gone."""
        told = 0
        try:
            send(self._end, batch)
        except OSError as problem:
            raise _Gone from problem
        while told < len(batch.rows):
            self._wait(go_on)
            reply = self._receive()
            assert isinstance(reply, Rendered)
            told += len(reply.rows)
            yield reply

    def _wait(self, go_on: Callable[[], None]) -> None:
        """Until the process says something. Raises _Gone, and what `go_on` raises."""
        go_on()
        deadline = time.monotonic() + PATIENCE_S
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        while not poll.poll(_LOOK_MS):
            go_on()
            if time.monotonic() > deadline:
                raise _Gone

    def _receive(self) -> Any:
        try:
            reply = receive(self._end, FromChild)
        except OSError as problem:
            raise _Gone from problem
        if reply is None:
            raise _Gone
        return reply


def _started(descriptor: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-P", "-c", _START, str(descriptor), *sys.path]
    try:
        return subprocess.Popen(  # noqa: S603 - our own module
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,  # a terminal's Ctrl-C is for us
        )
    except OSError as problem:
        raise NightkilnError(
            f"no process can be started to render the template: {problem.strerror}"
        ) from problem


def _ended(child: "subprocess.Popen[bytes]", end: socket.socket, owner: int) -> None:
    """Let a process end, and kill it if it is busy. A fork of ours leaves its parent's alone."""
    end.close()
    if os.getpid() != owner:
        child.returncode = 0  # not ours to wait for
        return
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _batches(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == _BATCH_ROWS or size + len(row) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row)
    if batch:
        yield batch


def _values(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    """A column's values as JSON: what is text, is, and every number with its digits."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.type == pa.string():
        return [value or "" for value in column.to_pylist()]
    if is_binary(column.type):
        return [None] * len(column)
    if not is_number(column.type) or kinds.is_boolean(column.type):
        return json_of(column)
    texts = texts_of(column).to_pylist()
    return [None if t is None or t in _NO_NUMBERS else msgspec.Raw(t.encode()) for t in texts]


def _text(row: bytes | Failed) -> str | Fault:
    if isinstance(row, bytes):
        return row.decode()
    return _fault(f", line {row.line}: {row.message}" if row.line else f" {row.message}")


def _fault(said: str) -> Fault:
    return Fault(
        kind=FaultClass.PERMANENT,
        code=TEMPLATE_FAILED,
        message=f"the template{said}"[:MESSAGE_LIMIT],
        sent=False,
    )
