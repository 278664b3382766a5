"""The options of `run` as an order: texts parsed and checked, nothing opened or looked up.

What the settings also know is None in an option that was not given; see `flags_of`.
"""

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from nightkiln.config import Settings
from nightkiln.config import settings as known_settings
from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec, Sampling, Task
from nightkiln.core.reuse import CacheUse, Dedupe
from nightkiln.plan.budget import Caps
from nightkiln.service.orders import Order

WAIT_S: Final = 600.0
TASKS: Final = {
    "chat": Task.CHAT,
    "complete": Task.COMPLETION,
    "embed": Task.EMBEDDING,
    "respond": Task.RESPONSE,
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `run` as click hands them over: one field per option."""

    input_name: str
    output: str | None
    endpoint: str | None
    more_endpoints: tuple[str, ...] = ()
    model: str | None
    task: str = "chat"
    key: str | None
    more_keys: tuple[str, ...] = ()
    header: tuple[str, ...]
    prompt: str | None
    column: tuple[str, ...]
    separator: str
    messages: str | None
    template: str | None = None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    param: tuple[str, ...]
    schema: str | None
    concurrency: int | None
    rpm: float | None = None
    tpm: float | None = None
    max_cost: float | None = None
    max_tokens_total: int | None = None
    deadline: float | None = None
    timeout: float | None
    kv_cache_gb: int | None
    wait: float | None
    limit: int | None
    input_format: str | None
    output_format: str | None
    delimiter: str
    sheet: str | None
    excel_safe: bool
    id_column: str | None
    encoding: str | None
    on_bad_row: str | None
    bad_rows: str | None
    dedupe: str | None = None
    cache: str | None = None
    new: bool


def asked_of(**typed: Any) -> Asked:
    """What was typed, as one value; of options that may be repeated, the first stands alone."""
    for name in ("endpoint", "key"):
        typed[name], typed[f"more_{name}s"] = first_and_more(typed[name])
    return Asked(**typed)


def first_and_more(values: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """What an option that may be repeated was given: the first, and the others."""
    return next(iter(values), None), values[1:]


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How many row errors still count as success."""

    rows: int = 0
    percent: float = 0.0

    def covers(self, failed: int, rows: int) -> bool:
        """True when that many errors are allowed."""
        return failed <= self.rows or (rows > 0 and failed * 100 <= self.percent * rows)


def flags_of(asked: Asked) -> dict[str, object]:
    """The options that are settings, by the setting's dotted name; None is not said."""
    return {key: getattr(asked, key.rpartition(".")[2], None) for key in known_settings()}


def order_of(asked: Asked, settings: Settings, *, on_terminal: bool) -> Order:
    """The order under settings that the options were part of. Raises UsageError."""
    return Order(
        input=asked.input_name,
        output=asked.output,
        input_format=asked.input_format,
        output_format=asked.output_format,
        prompt=_prompt(asked),
        model=settings.model,
        task=TASKS[asked.task],
        sampling=Sampling(
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=asked.seed,
            extra=dict(param_of(text) for text in asked.param),
        ),
        output_schema=None if asked.schema is None else schema_of(asked.schema),
        endpoint=settings.endpoint,
        more_endpoints=asked.more_endpoints,
        key=asked.key,
        more_keys=asked.more_keys,
        headers=tuple(header_of(text) for text in asked.header),
        timeout_s=settings.timeout,
        concurrency=settings.concurrency,
        rpm=asked.rpm,
        tpm=asked.tpm,
        caps=Caps(cost_usd=asked.max_cost, tokens=asked.max_tokens_total, until=asked.deadline),
        kv_cache_gb=settings.engine.kv_cache_gb,
        precision=settings.engine.precision,
        limit=asked.limit,
        delimiter=delimiter_of(asked.delimiter),
        sheet=asked.sheet,
        excel_safe=asked.excel_safe,
        id_column=asked.id_column,
        encoding=asked.encoding,
        on_bad_row=settings.on_bad_row,
        bad_rows=asked.bad_rows,
        dedupe=Dedupe(settings.dedupe),
        cache=CacheUse(settings.cache),
        new=asked.new,
        wait_s=wait_of(settings.wait, on_terminal=on_terminal),
    )


def schema_of(path: str) -> bytes:
    """The text of a schema file. Raises UsageError; whether it is a schema is checked later."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"--schema {path} cannot be read: {error.strerror}") from error


def template_of(path: str) -> str:
    """The text of a Jinja file. Raises UsageError; whether it is a template is checked later."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"--template {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--template {path} is not UTF-8 at byte {error.start}") from error
    if not text.strip():
        raise UsageError(
            f"--template {path} is empty", hint="write {{ column }} where a value goes"
        )
    return text


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
        "--template": asked.template is not None,
        "--messages": asked.messages is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other; give one of them")
    return PromptSpec(
        columns=asked.column,
        separator=unescaped(asked.separator),
        template=asked.prompt,
        jinja=None if asked.template is None else template_of(asked.template),
        messages_column=asked.messages,
        system=asked.system,
    )
