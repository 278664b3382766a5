"""docs/sdk-reference.md: every public name of the package, from its signature and docstring.

What a name is decides how it is shown; no name is listed here. Examples in
docstrings are left out: those of the guide are run by tests, these are not.
"""

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

import nightkiln

WIDTH: Final = 92
_STARS: Final = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
_OWN: Final = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")  # the module before a type's name
_COMMENTED: Final = re.compile(r"^    (\w+): [^#\n]+#\s*(.+)$", re.MULTILINE)

HEAD: Final = """\
# The library: reference

{made_by}

`import nightkiln as nk` gives the names below and nothing else. [The guide](sdk.md) has examples.

"""


def sdk_page(made_by: str) -> str:
    """The whole page."""
    names = [name for name in nightkiln.__all__ if not name.startswith("__")]
    public: dict[str, Any] = {name: nightkiln.__getattr__(name) for name in names}
    parts = [HEAD.format(made_by=made_by)]
    parts += _functions({name: one for name, one in public.items() if not inspect.isclass(one)})
    classes = {name: one for name, one in public.items() if inspect.isclass(one)}
    parts += _doing(classes, {name for name in public if name not in classes})
    parts += _values(classes)
    parts += _errors(classes)
    return "".join(parts).rstrip() + "\n"


def _functions(functions: dict[str, Callable[..., object]]) -> Iterator[str]:
    yield "## Functions\n\nThey are the methods of one `Client`, that of the current home.\n\n"
    for name, function in functions.items():
        yield f"### `{name}`\n\n{_signature(f'nk.{name}', function)}\n\n{_words(function)}\n\n"


def _doing(classes: dict[str, type], functions: set[str]) -> Iterator[str]:
    """Clients and jobs. A method that is a function as well is named, not told again."""
    yield "## Clients and jobs\n\n"
    for name, kind in classes.items():
        if issubclass(kind, msgspec.Struct | BaseException):
            continue
        methods = dict(_methods(kind))
        again = [f"`{method}`" for method in methods if method in functions]
        yield f"### `{name}`\n\n"
        if name.endswith("Client"):
            yield f"{_signature(f'nk.{name}', kind)}\n\n"
        yield f"{_words(kind)}\n\n"
        if again:
            are = "are, to be awaited," if name.startswith("Async") else "are"
            yield f"Its methods {are} those of the functions {', '.join(again)}, and:\n\n"
        for method, function in methods.items():
            if method not in functions:
                yield f"{_signature(method, function)}\n\n{_words(function)}\n\n"


def _values(classes: dict[str, type]) -> Iterator[str]:
    yield "## Values\n\n"
    for name, kind in classes.items():
        if not issubclass(kind, msgspec.Struct):
            continue
        notes = dict(_COMMENTED.findall(inspect.getsource(kind)))
        yield f"### `{name}`\n\n{_words(kind)}\n\n| field | is | |\n| --- | --- | --- |\n"
        for field, is_a in typing.get_type_hints(kind).items():
            if field in kind.__struct_fields__:
                yield f"| `{field}` | {_cell(_type(is_a))} | {_cell(notes.get(field, ''))} |\n"
        for field, made in inspect.getmembers(kind, lambda one: isinstance(one, property)):
            is_a = inspect.signature(made.fget).return_annotation
            yield f"| `{field}` | {_cell(_type(is_a))} | {_cell(_words(made))} |\n"
        yield "\n"


def _errors(classes: dict[str, type]) -> Iterator[str]:
    yield "## Errors\n\nAll are `NightkilnError`, with a `message` and a `hint`: what helps.\n\n"
    yield "| error | is a | code | says |\n| --- | --- | --- | --- |\n"
    for name, kind in classes.items():
        if issubclass(kind, nightkiln.NightkilnError):
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            says = " ".join(_words(kind).split("\n\n")[0].split())
            yield f"| `{name}` | {bases} | `{kind.code}` | {_cell(says)} |\n"


def _methods(kind: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """Public methods in the order of the source, those of its bases first."""
    for base in reversed(kind.__mro__):
        for name, one in vars(base).items():
            if inspect.isfunction(one) and not name.startswith("_"):
                yield name, one


def _signature(name: str, what: Callable[..., object]) -> str:
    """The call as an indented block, one parameter a line where it is long."""
    signature = inspect.signature(what)
    shown = [one for one in signature.parameters.values() if one.name not in ("self", "kiln")]
    parameters = [_parameter(one) for one in shown]
    kinds = [one.kind for one in shown]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    ends = ")"
    if not inspect.isclass(what) and signature.return_annotation is not inspect.Signature.empty:
        ends += f" -> {_type(signature.return_annotation)}"
    line = f"{name}({', '.join(parameters)}{ends}"
    if len(line) > WIDTH:
        line = "\n".join([f"{name}(", *(f"    {one}," for one in parameters), ends])
    return "\n".join(f"    {one}" for one in line.splitlines())


def _parameter(one: inspect.Parameter) -> str:
    text = _STARS.get(one.kind.name, "") + one.name
    if one.annotation is not inspect.Parameter.empty:
        text += f": {_type(one.annotation)}"
    return text if one.default is inspect.Parameter.empty else f"{text} = {one.default!r}"


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Unpack:
        return f"Unpack[{annotation.__args__[0].__name__}]"
    said = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _OWN.sub("", said)


def _words(what: object) -> str:
    """A docstring without its examples."""
    text = inspect.getdoc(what) or ""
    return "\n\n".join(part for part in text.split("\n\n") if not part.lstrip().startswith(">>>"))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
