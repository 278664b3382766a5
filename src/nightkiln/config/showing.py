"""The settings as people read them: each with its value and where it came from.

A secret is never shown: keys are references, a header is its name and its
reference, or its name alone, a secret that stands in a variable is only said to
be set, and an address is shown without what may be a password in it.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from nightkiln.config.checks import reference_of
from nightkiln.config.fields import Field, dotted, fields_of
from nightkiln.config.layers import Origin, Source
from nightkiln.config.parsing import Settings
from nightkiln.config.table import Section, Values
from nightkiln.wire.redact import excerpt

Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

HIDDEN: Final = "…"
_SECRET_ENDS: Final = ("key", "token", "secret", "password", "authorization", "cookie")


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
    if not field.means.secret or value is None:
        return _plain(value)
    if isinstance(value, Mapping):
        return {name: _referred(str(text)) for name, text in value.items()}
    return _referred(str(value))


def _referred(text: str) -> str:
    """A reference as it is; of a secret itself only that there is one."""
    return text if reference_of(text) else HIDDEN


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _named(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return excerpt(_address(str(value)))


def _named(name: str, value: object) -> Plain:
    """A value in a table of somebody's own names: `params` may say a key, too."""
    is_secret = isinstance(value, str) and name.lower().endswith(_SECRET_ENDS)
    return _referred(str(value)) if is_secret else _plain(value)


def _address(text: str) -> str:
    """A URL without its user, password, query and fragment; every other text as it is."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN  # nobody can say where its password begins
    _, at, host = parts.netloc.rpartition("@")
    shown = parts._replace(netloc=f"{HIDDEN}@{host}" if at else host, query="", fragment="")
    return shown.geturl() + (f"?{HIDDEN}" if parts.query or parts.fragment else "")
