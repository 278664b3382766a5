"""What may be set from outside, parsed once from mappings that the composition root passes.

Flags win over the variables NIGHTKILN_*, those over the project's
nightkiln.toml, that over the user's, and that over what is built in. Nothing
here reads a file or the process's own environment.
"""

from collections.abc import Mapping

from nightkiln.config.checks import reference_of
from nightkiln.config.fields import as_toml, dotted, fields_of, flag, settings, variable
from nightkiln.config.layers import FILE_NAME, Layer, Origin, Source, file_layer, flag_layer
from nightkiln.config.parsing import Settings, check_file, parse
from nightkiln.config.showing import Shown, shown_of
from nightkiln.config.table import Endpoint, ModelAlias, ModelPrice, Values
from nightkiln.core.errors import ConfigError

__all__ = [
    "FILE_NAME",
    "ConfigError",
    "Endpoint",
    "Layer",
    "ModelAlias",
    "ModelPrice",
    "Origin",
    "Settings",
    "Shown",
    "Source",
    "Values",
    "as_toml",
    "check_file",
    "crash_point",
    "dotted",
    "fields_of",
    "file_layer",
    "flag",
    "flag_layer",
    "parse",
    "reference_of",
    "settings",
    "shown_of",
    "variable",
    "wants_debug",
]


def wants_debug(environ: Mapping[str, str]) -> bool:
    """True when errors should show a traceback. Never raises: it is asked while one is reported."""
    return environ.get(variable("debug"), "").lower() not in ("", "0", "false")


def crash_point(said: str | None) -> tuple[str, int] | None:
    """Where a test wants this process to die, and at which passing. Raises ConfigError."""
    if not said:
        return None
    name, _, nth = said.partition(":")
    if nth and not nth.isdecimal():
        raise ConfigError(f"{variable('crash_at')} is {said!r}; it reads POINT or POINT:NTH")
    return name, int(nth or 1)
