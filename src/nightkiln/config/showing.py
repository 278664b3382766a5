"""The settings as people read them: each with its value and where it came from.

A secret is never shown: keys are references, and a header is its name and its
reference, or its name alone.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from nightkiln.config.checks import reference_of
from nightkiln.config.fields import Field, dotted, fields_of
from nightkiln.config.layers import Origin, Source
from nightkiln.config.parsing import Settings
from nightkiln.config.table import Section, Values
from nightkiln.wire.redact import excerpt

Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

HIDDEN = "…"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One setting with its value."""

    setting: str
    value: object  # of the kinds that JSON knows
    source: str  # flag, argument, env, file or built in
    origin: str  # in words


def shown_of(settings: Settings) -> tuple[Shown, ...]:
    """Every setting, in the order of the table; what only tests use is there when it is set."""
    return tuple(_shown(settings, Values, "", settings, None))


def _shown(
    section: Section, kind: type[Section], under: str, settings: Settings, whole: Origin | None
) -> Iterator[Shown]:
    """The settings of a section. One that is `whole` came from one place: only what it says."""
    for field in fields_of(kind).values():
        key, value = dotted(under, field.name), getattr(section, field.name)
        if field.section is not None:
            yield from _shown(value, field.section, key, settings, whole)
        elif field.named is not None:
            for name, entry in value.items():
                inner = dotted(key, name)
                origin = whole or settings.origin(inner)
                yield from _shown(entry, field.named, inner, settings, origin)
        elif whole is None or value != field.default:
            origin = whole or settings.origin(key)
            if field.means.for_tests and origin.source is Source.BUILT_IN:
                continue
            words = origin.words.partition(": ")[0] + f": {key}" if origin.file else origin.words
            yield Shown(
                setting=key, value=_value(value, field), source=str(origin.source), origin=words
            )


def _value(value: object, field: Field) -> Plain:
    if field.means.secret and isinstance(value, Mapping):
        return {name: text if reference_of(text) else HIDDEN for name, text in value.items()}
    return _plain(value)


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return excerpt(str(value))
