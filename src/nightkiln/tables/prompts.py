"""From rows to prompts: columns joined, a template filled in, or messages as they came.

A template knows one thing, `{column}`, and is compiled once. Nothing in it is an
attribute, an index or a format, and what a value contains is never looked at
again: a cell that says `{secret}` puts those eight characters into the prompt.
Typed values become text as `values` says; a null is empty text.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import PromptSpec
from nightkiln.core.request import Prompt, WireBody
from nightkiln.tables.badrows import Flaw
from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.batch_in import BATCH, bodies
from nightkiln.tables.columns import check_present, listed, missing_key
from nightkiln.tables.fields import Picker, text_of
from nightkiln.tables.jinja_template import TEMPLATE_FAILED, jinja_template
from nightkiln.tables.values import is_binary, texts_of

if TYPE_CHECKING:
    import pyarrow as pa

_MESSAGES_HINT: Final = 'give a JSON list like [{"role": "user", "content": "..."}]'
_PIECES: Final = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]|[^{}]+")


class Renderer:
    """Makes the prompts of a job's rows.

    `columns` are those of the input (for JSONL the keys seen), `kind` its format.
    Raises UsageError when the prompt does not fit them.
    """

    def __init__(self, prompt: PromptSpec, columns: Sequence[str], kind: str) -> None:
        self._prompt = prompt
        self._jsonl = kind == "jsonl"
        self._whole = kind == BATCH  # every row carries its whole body; its reader checked it
        self._columns = tuple(columns)
        self.needed, self._pattern = ((), None) if self._whole else _compiled(prompt, self._columns)
        self._jinja = None if prompt.jinja is None else jinja_template(prompt.jinja)
        self._picker = Picker(self.needed) if self._jsonl and self._jinja is None else None
        self.check(self._columns)

    def check(self, columns: Sequence[str]) -> None:
        """Raise UsageError for a column the prompt needs and the input does not have."""
        prompt = self._prompt
        if self._jinja is not None:
            self._jinja.check(columns)
            return
        if prompt.template is not None:
            what = "the prompt"
        else:
            what = "--messages" if prompt.messages_column is not None else "--column"
        check_present(self.needed, columns, what=what)

    def rendered(self, table: "pa.Table") -> Sequence[Prompt | Fault]:
        """One prompt per row, in order. `flaws` found none in these rows at ingest.

        A fault stands for a row that a Jinja template could not render this time.
        """
        if self._jinja is not None:
            return self._jinja.texts(table, is_jsonl=self._jsonl)
        return self.prompts(table)

    def prompts(self, table: "pa.Table") -> list[Prompt]:
        """The same where every row has to have a prompt. Raises InputError."""
        if self._jinja is not None:
            return [_sure(one) for one in self._jinja.texts(table, is_jsonl=self._jsonl)]
        if self._whole:
            return [WireBody(bytes(body)) for body in bodies(table)]
        if self._prompt.messages_column is not None:
            return [msgspec.Raw(text) for text in self._messages(table)]
        if self._picker is not None:
            values = self._picker.texts(table.column(LINE_COLUMN).to_pylist())
            return self._joined([tuple(row) for row in values])
        columns = [_strings(table, name) for name in self.needed]
        if not columns:
            return self._joined([()] * table.num_rows)
        return self._joined(list(zip(*columns, strict=True)))

    def flaws(
        self, table: "pa.Table | pa.RecordBatch", *, go_on: Callable[[], None] = lambda: None
    ) -> dict[int, Flaw]:
        """The rows that cannot become a prompt, by their index, and why.

        Raises InputError for a column of bytes, of which no prompt can be made, and for a
        template that is too slow; and what `go_on` raises, which is called while it works.
        """
        if self._jinja is not None:
            texts = enumerate(self._jinja.texts(table, is_jsonl=self._jsonl, go_on=go_on))
            return {
                index: Flaw(text.message, code=TEMPLATE_FAILED)
                for index, text in texts
                if isinstance(text, Fault)
            }
        self._check_no_bytes(table)
        found: dict[int, Flaw] = {}
        if self._prompt.messages_column is not None:
            for index, text in enumerate(self._messages(table)):
                if problem := _not_messages(text):
                    reason = f'the messages in "{self._prompt.messages_column}" {problem}'
                    found[index] = Flaw(reason, _MESSAGES_HINT)
        if self._picker is not None:
            for index, text in enumerate(table.column(LINE_COLUMN).to_pylist()):
                raws = self._picker.raws(text)
                if not all(raws):
                    missing = next(
                        key for key, raw in zip(self.needed, raws, strict=True) if not raw
                    )
                    found[index] = Flaw(
                        missing_key(missing), "give every line the key; null stands for no text"
                    )
        return found

    def _check_no_bytes(self, table: "pa.Table | pa.RecordBatch") -> None:
        for name in self.needed if self._picker is None else ():
            kind = table.schema.field(name).type
            if is_binary(kind):
                raise InputError(
                    f'the column "{name}" holds bytes ({kind}), which no prompt can be made of',
                    hint="turn it into text first, or leave it out of the prompt",
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


def _sure(text: str | Fault) -> str:
    if isinstance(text, Fault):
        raise InputError(text.message)
    return text


def _compiled(prompt: PromptSpec, columns: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The columns a prompt needs, and the %-pattern of a template."""
    texts = (prompt.template, prompt.jinja, prompt.messages_column)
    if sum([bool(prompt.columns), *(text is not None for text in texts)]) > 1:
        raise UsageError(
            "--column, --prompt, --template and --messages exclude each other; give one of them"
        )
    if prompt.jinja is not None:
        return (), None  # its names are checked by itself
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
        f", --template FILE.jinja or --messages COLUMN; {listed(columns)}"
    )


def keys_needed(prompt: PromptSpec) -> tuple[str, ...]:
    """The keys that every row has to have; none for Jinja, whose names are checked by itself.

    Raises UsageError for a template that is none.
    """
    if prompt.template is not None:
        return _template(prompt.template)[0]
    if prompt.messages_column is not None:
        return (prompt.messages_column,)
    return prompt.columns


def demanded(prompt: PromptSpec) -> tuple[str, ...] | None:
    """What a dict among rows has to have: these keys, or with None any key at all."""
    return keys_needed(prompt) or (() if prompt.template or prompt.jinja else None)


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
    import pyarrow as pa

    column = table.column(name)
    if column.type != pa.string():
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        column = texts_of(whole)
    values: list[str | None] = column.to_pylist()
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
