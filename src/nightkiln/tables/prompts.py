"""From rows to prompts: columns joined, a template filled in, or messages as they came.

A template knows one thing, `{column}`, and is compiled once. Nothing in it is an
attribute, an index or a format, and what a value contains is never looked at
again: a cell that says `{secret}` puts those eight characters into the prompt.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import PromptSpec
from nightkiln.core.request import Prompt
from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.columns import check_present, listed
from nightkiln.tables.fields import Picker, text_of

if TYPE_CHECKING:
    import pyarrow as pa

_PIECES: Final = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]|[^{}]+")


class Renderer:
    """Makes the prompts of a job's rows.

    `columns` are those of the input (for JSONL the keys seen), `kind` its format.
    Raises UsageError when the prompt does not fit them.
    """

    def __init__(self, prompt: PromptSpec, columns: Sequence[str], kind: str) -> None:
        self._prompt = prompt
        self._jsonl = kind == "jsonl"
        self._columns = tuple(columns)
        self.needed, self._pattern = _compiled(prompt, self._columns)
        self._picker = Picker(self.needed) if self._jsonl else None
        self.check(self._columns)

    def check(self, columns: Sequence[str]) -> None:
        """Raise UsageError for a column the prompt needs and the input does not have."""
        prompt = self._prompt
        if prompt.template is not None:
            what = "the prompt"
        else:
            what = "--messages" if prompt.messages_column is not None else "--column"
        check_present(self.needed, columns, what=what)

    def prompts(self, table: "pa.Table") -> list[Prompt]:
        """One prompt per row, in order. `require` has passed these rows at ingest."""
        if self._prompt.messages_column is not None:
            return [msgspec.Raw(text) for text in self._messages(table)]
        if self._picker is not None:
            values = self._picker.texts(table.column(LINE_COLUMN).to_pylist())
            return self._joined([tuple(row) for row in values])
        columns = [_strings(table, name) for name in self.needed]
        if not columns:
            return self._joined([()] * table.num_rows)
        return self._joined(list(zip(*columns, strict=True)))

    def require(
        self,
        table: "pa.Table | pa.RecordBatch",
        first_line: int,
        *,
        starts: Sequence[int] = (),
    ) -> None:
        """Raise InputError, naming the line, for a row that cannot become a prompt.

        `starts` says on which line each row begins; without it rows are taken
        to be one line each.
        """
        if self._picker is not None:
            self._require_keys(self._picker, table, starts or range(first_line, 1 << 62))
        if self._prompt.messages_column is not None:
            for index, text in enumerate(self._messages(table)):
                problem = _not_messages(text)
                if problem:
                    line = starts[index] if starts else first_line + index
                    name = self._prompt.messages_column
                    raise InputError(
                        f'line {line}: the messages in "{name}" {problem}',
                        line=line,
                        hint='give a JSON list like [{"role": "user", "content": "..."}]',
                    )

    def _require_keys(
        self, picker: Picker, table: "pa.Table | pa.RecordBatch", starts: Sequence[int]
    ) -> None:
        for index, text in enumerate(table.column(LINE_COLUMN).to_pylist()):
            raws = picker.raws(text)
            if not all(raws):
                name = next(name for name, raw in zip(self.needed, raws, strict=True) if not raw)
                line = starts[index]
                raise InputError(
                    f'line {line}: no key "{name}", which the prompt needs',
                    line=line,
                    hint="give every line the key; null stands for empty text",
                )

    def _joined(self, rows: Sequence[tuple[str, ...]]) -> list[Prompt]:
        pattern = self._pattern
        if pattern is not None:
            return [pattern % row for row in rows]
        separator = self._prompt.separator
        return [separator.join(row) for row in rows]

    def _messages(self, table: "pa.Table | pa.RecordBatch") -> list[str]:
        if self._picker is None:
            return _strings(table, self.needed[0])
        lines = table.column(LINE_COLUMN).to_pylist()
        return [_raw_text(self._picker.raws(line)[0]) for line in lines]


def _compiled(prompt: PromptSpec, columns: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The columns a prompt needs, and the %-pattern of a template."""
    given = [bool(prompt.columns), prompt.template is not None, prompt.messages_column is not None]
    if sum(given) > 1:
        raise UsageError("--column, --prompt and --messages exclude each other; give one of them")
    if prompt.template is not None:
        return _template(prompt.template)
    if prompt.messages_column is not None:
        return (prompt.messages_column,), None
    if prompt.columns:
        return prompt.columns, None
    if len(columns) == 1:
        return columns, None
    raise UsageError(
        "say what the prompt is: --column NAME, --prompt 'TEXT WITH {COLUMN}'"
        f" or --messages COLUMN; {listed(columns)}"
    )


def _template(template: str) -> tuple[tuple[str, ...], str]:
    # The compiled form is a %-pattern of plain %s: one pass, and since values
    # are its arguments, nothing inside them can mean anything.
    names: list[str] = []
    pattern: list[str] = []
    for found in _PIECES.finditer(template):
        piece, name = found.group(), found.group(1)
        if name is not None:
            names.append(name)
            pattern.append("%s")
        elif piece in ("{", "}"):
            raise UsageError(
                f"the prompt has a single {piece} at character {found.start() + 1}",
                hint="a column is {NAME}; write {{ and }} for braces that stay",
            )
        else:
            literal = piece[0] if piece in ("{{", "}}") else piece
            pattern.append(literal.replace("%", "%%"))
    return tuple(names), "".join(pattern)


def _strings(table: "pa.Table | pa.RecordBatch", name: str) -> list[str]:
    values: list[str | None] = table.column(name).to_pylist()
    return [value or "" for value in values]


def _raw_text(raw: msgspec.Raw) -> str:
    """The JSON of a messages value: as it came, or out of the string it came in."""
    json_text = bytes(raw)
    return text_of(raw) if json_text.startswith(b'"') else json_text.decode()


class _Message(msgspec.Struct):
    """What every message must have; the rest is the backend's business."""

    role: str


_MESSAGES: Final = msgspec.json.Decoder(list[_Message])


def _not_messages(text: str) -> str:
    """What keeps a text from being a list of messages; empty when nothing does."""
    try:
        messages = _MESSAGES.decode(text)
    except msgspec.ValidationError as exc:
        return f"do not fit: {exc}"
    except (msgspec.DecodeError, RecursionError):
        return "are not JSON"
    return "" if messages else "are an empty list"
