"""The table of settings, read: each field's kind, words, default and variable. Pure."""

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from nightkiln.config.table import PREFIX, Means, Section, Values

_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a section: a setting, a section inside, or sections by name."""

    name: str
    kind: Any  # a type, as msgspec converts to it
    means: Means
    default: Any  # msgspec.NODEFAULT where the file has to say it
    section: type[Section] | None = None  # it is one section
    named: type[Section] | None = None  # it holds sections by name

    @property
    def words(self) -> str:
        """What a value has to be."""
        return "a table" if self.section or self.named else words_of(self.kind)

    @property
    def default_words(self) -> str:
        """The default, as documents say it."""
        if self.means.default:
            return self.means.default
        if self.default is msgspec.NODEFAULT:
            return "must be given"
        if self.default is None or self.default in ((), {}):
            return "none"
        return as_toml(self.default)


@cache
def fields_of(section: type[Section]) -> dict[str, Field]:
    """The fields of a section by name, in the order of the table."""
    return {field.name: _field(field) for field in msgspec.structs.fields(section)}


@cache
def settings() -> dict[str, Field]:
    """Every setting that has one value, by its dotted name, in the order of the table."""
    return dict(_settings(Values, ""))


def _settings(section: type[Section], under: str) -> Iterator[tuple[str, Field]]:
    for field in fields_of(section).values():
        key = dotted(under, field.name)
        if field.section is not None:
            yield from _settings(field.section, key)
        elif field.named is None:
            yield key, field


def variable(key: str) -> str:
    """The environment variable of a setting: `engine.kv_cache_gb` is NIGHTKILN_ENGINE_KV_CACHE_GB.

    The rule is all there is: no setting has a variable of another name.
    """
    return PREFIX + key.upper().replace(".", "_")


def flag(key: str) -> str:
    """The option of the command line that says a setting."""
    return "--" + key.rpartition(".")[2].replace("_", "-")


def dotted(under: str, name: str) -> str:
    """A key as TOML writes it; names with dots or blanks stand in quotes."""
    shown = name if name and set(name) <= _BARE else msgspec.json.encode(name).decode()
    return f"{under}.{shown}" if under else shown


def as_toml(value: object) -> str:
    """A value as TOML writes it, for one line."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        pairs = (f"{dotted('', name)} = {as_toml(inner)}" for name, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(inner) for inner in value)}]"
    if value is None or isinstance(value, bool | int | str):
        return msgspec.json.encode(value).decode()
    return str(value)


def words_of(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        said = (note.description for note in notes if isinstance(note, msgspec.Meta))
        return next((words for words in said if words), "") or words_of(inner)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return words_of(next(one for one in get_args(kind) if one is not type(None)))
    raise TypeError(f"the table of settings has no words for {kind}")


def _field(field: msgspec.structs.FieldInfo) -> Field:
    kind, *notes = get_args(field.type)
    means = next(note for note in notes if isinstance(note, Means))
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    rest = tuple(note for note in notes if note is not means)
    if rest:  # nested annotations arrive as one flat list
        kind = Annotated[(kind, *rest)]
    named = get_args(kind)[1] if get_origin(kind) is dict else None
    return Field(
        name=field.name,
        kind=kind,
        means=means,
        default=default,
        section=kind if isinstance(kind, type) and issubclass(kind, Section) else None,
        named=named if isinstance(named, type) and issubclass(named, Section) else None,
    )
