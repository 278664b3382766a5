"""What one asks of `infer`, checked for its form and made an order once the columns are known.

The parameters are declared here, once; every `infer` takes them. Those that
Sutro's SDK has come first and in its order. What we do not do is refused, never
ignored in silence. Nothing is opened or sent here.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import Label, PromptSpec, Sampling, Task
from nightkiln.service.orders import Order, Staged
from nightkiln.tables.badrows import POLICIES
from nightkiln.tables.columns import check_collisions, check_present
from nightkiln.tables.frames import MESSAGES
from nightkiln.tables.prompts import demanded
from nightkiln.tables.schema import AnswerSchema, properties_of

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

OUTPUT_COLUMN: Final = "inference_result"
FRAME_COLUMNS: Final = (
    "status",
    "error_code",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempts",
)  # besides the answers themselves
NAME_LIMIT: Final = 45
DESCRIPTION_LIMIT: Final = 512
TASKS: Final = {
    "chat": Task.CHAT,
    "complete": Task.COMPLETION,
    "embed": Task.EMBEDDING,
    "respond": Task.RESPONSE,
}
UNSAID_S: Final = float("inf")  # a timeout that nobody gave: the settings have one
UNSAID: Final = ""  # a choice that nobody made: the settings have one
_SAMPLING: Final = ("max_tokens", "temperature", "seed")
_IDENTIFIER: Final = re.compile(r"\w[\w.\-]*")
_SHOWN: Final = 120  # characters of a path in a message; longer ones may be prompts


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One call of `infer`, its form checked."""

    data: object
    column: str | Sequence[str] | None  # a list: names and literal texts, put together
    order: Order  # complete but for the rows and the prompt's columns
    output_column: str
    dry_run: bool
    stay_attached: bool

    @property
    def is_mixed(self) -> bool:
        """True when names and texts can only be told apart by the columns there are."""
        return self.column is not None and not isinstance(self.column, str)

    @property
    def needed(self) -> tuple[str, ...] | None:
        """The keys that every dict has to have; None: the only one there is.

        Raises UsageError for a template that is none.
        """
        if isinstance(self.column, str):
            return (self.column,)
        if self.column is not None:  # what does not look like a name may be a text
            return tuple(item for item in self.column if _IDENTIFIER.fullmatch(item))
        return demanded(self.order.prompt)

    @property
    def path(self) -> str | None:
        """The path or URL, where the rows are in a file."""
        if isinstance(self.data, str):
            return self.data
        return str(self.data) if isinstance(self.data, Path) else None


def submission(  # noqa: PLR0913 - the parameters of `infer`, declared in this one place
    data: object = None,
    model: str | None = None,
    name: str | None = None,
    description: str | None = None,
    column: str | Sequence[str] | None = None,
    output_column: str = OUTPUT_COLUMN,
    job_priority: int = 0,
    output_schema: type | Mapping[str, object] | str | bytes | None = None,
    sampling_params: Mapping[str, object] | None = None,
    system_prompt: str | None = None,
    dry_run: bool = False,
    stay_attached: bool | None = None,
    random_seed_per_input: bool = False,
    truncate_rows: bool = False,
    id_column: str | None = None,
    *,
    inputs: object = None,
    prompt: str | None = None,
    messages: str | None = None,
    endpoint: str | None = None,
    key: str | None = None,
    task: str = "chat",
    headers: Mapping[str, str] | None = None,
    limit: int | None = None,
    concurrency: int | None = None,
    timeout_s: float | None = None,
    wait_s: float | None = None,
    force_new: bool = False,
    template: str | Path | None = None,
    on_bad_row: str | None = None,
) -> Submission:
    """Check what was asked. Raises UsageError and InputError."""
    _refuse(random_seed_per_input=random_seed_per_input, truncate_rows=truncate_rows)
    same: dict[str, Any] = {"limit": limit, "key": key, "id_column": id_column, "wait_s": wait_s}
    rows = _rows_of(data, inputs)
    return Submission(
        data=rows,
        column=column,
        output_column=output_column,
        dry_run=dry_run,
        stay_attached=bool(stay_attached),
        order=Order(
            input=str(rows) if isinstance(rows, str | Path) else "",
            output=None,
            prompt=_asks(column, prompt, template, messages, system_prompt),
            model=model,
            task=_task(task),
            sampling=sampling_of(sampling_params or {}),
            output_schema=schema_of(output_schema),
            endpoint=endpoint,
            headers=tuple((headers or {}).items()),
            timeout_s=UNSAID_S if timeout_s is None else timeout_s,
            on_bad_row=_policy(on_bad_row),
            new=force_new,
            concurrency=concurrency,
            **same,
            label=_label(name, description, job_priority, output_column),
        ),
    )


def _rows_of(data: object, inputs: object) -> object:
    """The rows, whichever name they were given by. Raises UsageError, InputError."""
    if (data is None) == (inputs is None):
        raise UsageError("give the rows once: as `data` or as `inputs`")
    rows = inputs if data is None else data
    if isinstance(rows, str | Path):
        _check_path(str(rows))
    return rows


def _check_one_of(**given: object) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other; give one of them")


def _asks(
    column: str | Sequence[str] | None,
    prompt: str | None,
    template: str | Path | None,
    messages: str | None,
    system: str | None,
) -> PromptSpec:
    """What is asked, but for the columns. Raises UsageError."""
    _check_one_of(column=column, prompt=prompt, messages=messages, template=template)
    listed = isinstance(column, Sequence) and all(isinstance(item, str) for item in column)
    if column is not None and not listed:
        hint = "give the name of a column, or a list of names and texts"
        raise UsageError(f"column= is {column!r}, which names no column", hint=hint)
    text = _jinja(template)
    return PromptSpec(template=prompt, jinja=text, messages_column=messages, system=system)


def _policy(on_bad_row: str | None) -> str:
    if on_bad_row is not None and on_bad_row not in POLICIES:
        raise UsageError(f"on_bad_row is {on_bad_row!r}; it is one of {', '.join(POLICIES)}")
    return on_bad_row or UNSAID


def _jinja(template: str | Path | None) -> str | None:
    """The text of a Jinja template; a `Path` is read. Raises UsageError."""
    text = template.read_text(encoding="utf-8-sig") if isinstance(template, Path) else template
    if text is not None and not text.strip():
        raise UsageError("the template is empty", hint="write {{ column }} where a value goes")
    return text


def _task(name: str) -> Task:
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}", hint=f"there are: {', '.join(TASKS)}")
    return TASKS[name]


def taking_submission(
    _shape: Callable[P, Submission],
) -> Callable[[Callable[[S, Submission], R]], Callable[Concatenate[S, P], R]]:
    """Give a method the parameters of `submission`, for people and for type checkers."""

    def decorate(method: Callable[[S, Submission], R]) -> Callable[Concatenate[S, P], R]:
        def taking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                asked = _shape(*args, **kwargs)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # from inside: not about the arguments of this call
                said = str(error).partition("() ")[2] or str(error)
                raise TypeError(f"{method.__name__}() {said}") from None
            return method(self, asked)

        functools.update_wrapper(taking, method)
        own, shown = inspect.signature(method), inspect.signature(_shape)
        taking.__signature__ = shown.replace(  # type: ignore[attr-defined]
            parameters=[next(iter(own.parameters.values())), *shown.parameters.values()],
            return_annotation=own.return_annotation,
        )
        return taking

    return decorate


def order_for(
    asked: Submission, columns: Sequence[str] | None, staged: Staged | None = None
) -> Order:
    """The order, its prompt put together from the columns there are. Raises UsageError.

    `columns` is None for a file whose columns nobody had to look at: its reader
    checks what the prompt needs.
    """
    added = (asked.output_column, *FRAME_COLUMNS)
    fields = () if asked.order.output_schema is None else properties_of(asked.order.output_schema)
    if columns is not None:
        check_collisions(columns, fields, added=added)
    return msgspec.structs.replace(
        asked.order,
        input=asked.order.input or (staged.name if staged is not None else ""),
        staged=staged,
        detached=True,
        again=True,
        prompt=_prompt(asked, columns),
        reserved=() if staged is not None else added,
    )


def _prompt(asked: Submission, columns: Sequence[str] | None) -> PromptSpec:
    prompt = asked.order.prompt
    if asked.is_mixed:
        assert columns is not None
        return msgspec.structs.replace(prompt, template=_mixed(asked.column or (), columns))
    if isinstance(asked.column, str):
        if columns is not None:
            check_present([asked.column], columns, what="column=")
        return msgspec.structs.replace(prompt, columns=(asked.column,))
    asks = (prompt.template, prompt.jinja, prompt.messages_column)
    if columns is None or any(one is not None for one in asks):
        return prompt
    if tuple(columns) == (MESSAGES,):
        return msgspec.structs.replace(prompt, messages_column=MESSAGES)
    if len(columns) == 1:
        return msgspec.structs.replace(prompt, columns=tuple(columns))
    return prompt


def _mixed(items: Sequence[str], columns: Sequence[str]) -> str:
    """Names of columns and texts between them as one template."""
    if not items:
        raise UsageError("column= is an empty list", hint="name at least one column")
    pieces = []
    for item in items:
        if item in columns:
            if set(item) & set("{}"):
                raise UsageError(f'the column "{item}" has braces in its name; rename it')
            pieces.append("{" + item + "}")
            continue
        if _IDENTIFIER.fullmatch(item):
            check_present([item], columns, what="column=")  # a typo, not a text
        pieces.append(item.replace("{", "{{").replace("}", "}}"))
    if not any(item in columns for item in items):
        raise UsageError("column= names no column, so every prompt would be the same")
    return "".join(pieces)


def sampling_of(params: Mapping[str, object]) -> Sampling:
    """A dict of sampling parameters; those we do not know go into the request as they are."""
    for name, kind in (("max_tokens", int), ("temperature", int | float), ("seed", int)):
        value = params.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise UsageError(f"sampling_params has {name}={value!r}; it has to be a number")
    try:
        extra = {
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in params.items()
            if name not in _SAMPLING
        }
    except TypeError as error:
        raise UsageError(f"sampling_params holds what JSON cannot: {error}") from error
    return msgspec.convert(
        {name: params.get(name) for name in _SAMPLING} | {"extra": extra}, Sampling
    )


def schema_of(schema: type | Mapping[str, object] | str | bytes | None) -> bytes | None:
    """A pydantic class, a dict or a text as the text of a JSON schema. Raises UsageError."""
    if schema is None:
        return None
    if callable(make := getattr(schema, "model_json_schema", None)):
        schema = make()
    if isinstance(schema, str):
        schema = schema.encode()
    if isinstance(schema, Mapping):
        try:
            schema = msgspec.json.encode(dict(schema))
        except TypeError as error:
            raise UsageError(f"output_schema holds what JSON cannot: {error}") from error
    if not isinstance(schema, bytes):
        raise UsageError(
            f"output_schema is a {type(schema).__name__}, not a schema",
            hint="give a pydantic class, a dict, or the JSON text of a schema",
        )
    AnswerSchema(schema)
    return schema


def _label(name: str | None, description: str | None, priority: int, output: str) -> Label:
    if priority not in (0, 1) or isinstance(priority, bool):
        raise UsageError(f"job_priority is {priority!r}; it is 0 (now) or 1 (it has time)")
    for what, text, most in (
        ("name", name, NAME_LIMIT),
        ("description", description, DESCRIPTION_LIMIT),
    ):
        if text is not None and len(text) > most:
            raise UsageError(f"{what} has {len(text)} characters; at most {most} fit")
    if not output or output in FRAME_COLUMNS:
        raise UsageError(
            f"output_column cannot be {output!r}",
            hint=f"the results have these columns besides: {', '.join(FRAME_COLUMNS)}",
        )
    return Label(
        name=name or "",
        description=description or "",
        priority=priority,
        output_column=output,
    )


def _refuse(*, random_seed_per_input: bool, truncate_rows: bool) -> None:
    if random_seed_per_input:
        raise UsageError(
            "random_seed_per_input is not done here: all rows of a job are asked alike",
            hint='leave it out, or give one seed for all: sampling_params={"seed": 1}',
        )
    if truncate_rows:
        raise UsageError(
            "truncate_rows is not done here: no row is ever cut in silence",
            hint="leave it out; a row too long for the model ends as a row error of its own",
        )


def _check_path(said: str) -> None:
    """Refuse a string that names nothing: it is never taken as a row."""
    if "://" in said or any(mark in said for mark in "*?["):
        return
    try:
        found = Path(said).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # no path at all: too long, a NUL, no home
        found = False
    if not found:
        fits = len(said) <= _SHOWN and "\n" not in said
        shown = f"no file {said}" if fits else f"no file of that name, of {len(said)} characters"
        raise InputError(f"there is {shown}", hint="a single prompt goes into a list: [text]")
