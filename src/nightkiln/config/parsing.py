"""Layers in, settings out. Unknown names, wrong types and secrets are errors. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nightkiln.config.checks import anchored, check_aliases, checked, references
from nightkiln.config.fields import Field, as_toml, dotted, fields_of, settings
from nightkiln.config.layers import BUILT_IN, Layer, Origin, Source, env_layer, unknown
from nightkiln.config.table import Endpoint, ModelAlias, Section, Values
from nightkiln.core.errors import ConfigError
from nightkiln.wire.redact import excerpt


class Settings(Values, frozen=True, kw_only=True):
    """Every setting as it holds now, and where it came from."""

    # By dotted name; what is not there is built in.
    origins: dict[str, Origin] = msgspec.field(default_factory=dict)

    def origin(self, key: str) -> Origin:
        """Where a setting, or a whole `endpoints.NAME`, came from."""
        return self.origins.get(key, BUILT_IN)


class _Found(NamedTuple):
    """One value and the layer that says it."""

    value: Any
    layer: Layer


def parse(files: Sequence[Layer], environ: Mapping[str, str], flags: Layer) -> Settings:
    """The settings. `files` come strongest first. Raises ConfigError naming file and key.

    An `[endpoints.NAME]`, `[models.NAME]` or `[prices.NAME]` is taken whole from
    the strongest file that has it, never mixed from two: no file can send a key
    that another names to an address of its own.
    """
    home = _user_home(environ)
    said: dict[tuple[str, ...], _Found] = {}
    for layer in files:
        for path, value in _walk(Values, layer.said, "", layer, home):
            said.setdefault(path, _Found(value, layer))
    secrets = {
        reference.place
        for found in said.values()
        if isinstance(found.value, Endpoint)
        for reference in references(found.value)
    }
    for layer in (env_layer(environ, folder=flags.folder, secrets=secrets), flags):
        for key, value in layer.said.items():
            path = tuple(key.split("."))
            said[path] = _Found(_converted(value, settings()[key], key, layer, home), layer)
    return _made(said, environ)


def check_file(layer: Layer, environ: Mapping[str, str]) -> int:
    """How many settings a file says, all of them right. Raises ConfigError."""
    said = list(_walk(Values, layer.said, "", layer, _user_home(environ)))
    return len(said)


def _made(said: Mapping[tuple[str, ...], _Found], environ: Mapping[str, str]) -> Settings:
    top: dict[str, Any] = {"home": data_home(environ)}
    origins: dict[str, Origin] = {}
    for path, (value, layer) in said.items():
        key = dotted("", path[0]) if len(path) == 1 else dotted(path[0], path[1])
        origins[key] = layer.origin(key)
        if len(path) == 1:
            top[path[0]] = value
        else:
            top.setdefault(path[0], {})[path[1]] = value
    for name, field in fields_of(Values).items():
        if field.section is not None:
            top[name] = field.section(**top.get(name, {}))
    made = Settings(**top, origins=origins)
    aliases = {
        path[1]: (found.value, found.layer)
        for path, found in said.items()
        if isinstance(found.value, ModelAlias)
    }
    check_aliases(aliases, made.endpoints)
    return made


def _walk(
    section: type[Section], table: Mapping[str, object], under: str, layer: Layer, home: Path
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value of a file, converted, with its path: settings alone, named sections whole."""
    allowed = fields_of(section)
    for name, value in table.items():
        key = dotted(under, name)
        field = _allowed(allowed, name, key, layer)
        path = (*([under] if under else []), name)
        if field.section is not None:
            yield from _walk(field.section, _table(value, key, layer), key, layer, home)
        elif field.named is not None:
            for inner, entry in _table(value, key, layer).items():
                yield (name, inner), _section(field.named, entry, dotted(key, inner), layer, home)
        else:
            yield path, _converted(value, field, key, layer, home)


def _section(kind: type[Section], value: object, key: str, layer: Layer, home: Path) -> Section:
    """One named section, whole."""
    table, allowed, parts = _table(value, key, layer), fields_of(kind), dict[str, Any]()
    for name, said in table.items():
        inner = dotted(key, name)
        field = _allowed(allowed, name, inner, layer)
        if field.named is not None:
            parts[name] = {
                entry: _section(field.named, content, dotted(inner, entry), layer, home)
                for entry, content in _table(said, inner, layer).items()
            }
        else:
            parts[name] = _converted(said, field, inner, layer, home)
    for name, field in allowed.items():
        if field.default is msgspec.NODEFAULT and name not in parts:
            raise ConfigError(
                f"{layer.names(key)} has no {name}",
                hint=f"add {name}, {field.words}: {field.means.text}",
            )
    return checked(kind(**parts), key, layer, home)


def _allowed(allowed: Mapping[str, Field], name: str, key: str, layer: Layer) -> Field:
    field = allowed.get(name)
    there_are = {known: one for known, one in allowed.items() if not one.means.only_env}
    if field is None or field.means.only_env:
        under = key.rpartition(".")[0] if "." in key else "the file"
        message = f"{layer.names(key)} is no setting"
        raise unknown(message, name, there_are, f"{under or 'the file'} takes")
    return field


def _table(value: object, key: str, layer: Layer) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{layer.names(key)} has to be a table", hint=f"write it as [{key}]")
    return value


def _converted(value: object, field: Field, key: str, layer: Layer, home: Path) -> object:
    """The value in its type. Raises ConfigError."""

    def path_of(_kind: type, said: object) -> Path:
        if not isinstance(said, str | Path) or not str(said):
            raise TypeError
        return anchored(str(said), layer.folder, home)

    is_text = layer.source is Source.ENV
    try:
        made: object = msgspec.convert(value, field.kind, strict=not is_text, dec_hook=path_of)
    except msgspec.ValidationError:
        raise _wrong(value, field, key, layer) from None
    if isinstance(made, float) and not math.isfinite(made):
        raise _wrong(value, field, key, layer)
    return made


def _wrong(value: object, field: Field, key: str, layer: Layer) -> ConfigError:
    shown = "wrong" if field.means.secret else excerpt(as_toml(value))
    plural = fields_of(Values).get(f"{key}s")
    hint = f"did you mean [{key}s.NAME]?" if isinstance(value, Mapping) and plural else ""
    return ConfigError(f"{layer.names(key)} is {shown}; it has to be {field.words}", hint=hint)


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def data_home(environ: Mapping[str, str]) -> Path:
    """The home folder where none is named: `nightkiln` in the user's data folder."""
    data = environ.get("XDG_DATA_HOME")
    base = Path(data) if data else _user_home(environ) / ".local/share"
    return base.absolute() / "nightkiln"
