"""The options of `run` as an order: texts parsed and checked, nothing opened or looked up."""

import re
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec, Sampling
from nightkiln.service.orders import Order

WAIT_S: Final = 600.0
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `run` as click hands them over: one field per option."""

    input_name: str
    output: str | None
    endpoint: str | None
    model: str | None
    key: str | None
    header: tuple[str, ...]
    prompt: str | None
    column: tuple[str, ...]
    separator: str
    messages: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    param: tuple[str, ...]
    schema: str | None
    concurrency: int | None
    timeout: float
    kv_cache_gb: int
    wait: float | None
    limit: int | None
    input_format: str | None
    output_format: str | None
    delimiter: str
    id_column: str | None
    new: bool


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How many row errors still count as success."""

    rows: int = 0
    percent: float = 0.0

    def covers(self, failed: int, rows: int) -> bool:
        """True when that many errors are allowed."""
        return failed <= self.rows or (rows > 0 and failed * 100 <= self.percent * rows)


def order_of(asked: Asked, *, on_terminal: bool) -> Order:
    """The order. Raises UsageError naming the option."""
    return Order(
        input=asked.input_name,
        output=asked.output,
        input_format=asked.input_format,
        output_format=asked.output_format,
        prompt=_prompt(asked),
        model=asked.model,
        sampling=Sampling(
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            seed=asked.seed,
            extra=dict(param_of(text) for text in asked.param),
        ),
        output_schema=None if asked.schema is None else schema_of(asked.schema),
        endpoint=asked.endpoint,
        key=asked.key,
        headers=tuple(header_of(text) for text in asked.header),
        timeout_s=asked.timeout,
        concurrency=asked.concurrency,
        kv_cache_gb=asked.kv_cache_gb,
        limit=asked.limit,
        delimiter=delimiter_of(asked.delimiter),
        id_column=asked.id_column,
        new=asked.new,
        wait_s=wait_of(asked.wait, on_terminal=on_terminal),
    )


def schema_of(path: str) -> bytes:
    """The text of a schema file. Raises UsageError; whether it is a schema is checked later."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"--schema {path} cannot be read: {error.strerror}") from error


def unescaped(text: str) -> str:
    r"""`\n`, `\t`, `\r`, `\0` and `\\` as the characters they stand for; the rest as it is."""
    return re.sub(r"\\([ntr0\\])", lambda found: _ESCAPES[found.group(1)], text)


def delimiter_of(text: str) -> str:
    """The one character between fields. Raises UsageError."""
    delimiter = unescaped(text)
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise UsageError(
            f"--delimiter takes one character, not {text!r}", hint="a tab is written '\\t'"
        )
    return delimiter


def header_of(text: str) -> tuple[str, str]:
    """A header written K=V. Raises UsageError, which never repeats the value."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise UsageError("--header takes NAME=VALUE", hint="for example --header X-Team=night")
    if any(mark in value for mark in "\r\n\0"):
        raise UsageError(f"--header {name} has a line break in its value")
    return name, value


def param_of(text: str) -> tuple[str, msgspec.Raw]:
    """A field of the request written K=JSON; what is no JSON is taken as a string."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError("--param takes NAME=VALUE", hint="for example --param top_p=0.9")
    try:
        msgspec.json.decode(value.encode())
    except msgspec.DecodeError:
        return name, msgspec.Raw(msgspec.json.encode(value))
    return name, msgspec.Raw(value.encode())


def allowance_of(text: str | None) -> Allowance:
    """`--allow-errors` as a number of rows or a share. Raises UsageError."""
    if text is None:
        return Allowance()
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        if not percent:
            rows = int(number)
            if rows >= 0:
                return Allowance(rows=rows)
        elif 0 <= float(number) <= 100:
            return Allowance(percent=float(number))
    except ValueError:
        pass
    raise UsageError(
        f"--allow-errors cannot be {text!r}", hint="give a number of rows, or a share like 1%"
    )


def wait_of(seconds: float | None, *, on_terminal: bool) -> float | None:
    """How long to wait for a backend that takes nothing; None is without limit."""
    if seconds is not None:
        return seconds
    return None if on_terminal else WAIT_S


def _prompt(asked: Asked) -> PromptSpec:
    given = {
        "--prompt": asked.prompt is not None,
        "--column": bool(asked.column),
        "--messages": asked.messages is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other; give one of them")
    return PromptSpec(
        columns=asked.column,
        separator=unescaped(asked.separator),
        template=asked.prompt,
        messages_column=asked.messages,
        system=asked.system,
    )
