"""What a type cannot say of a section: references, addresses, secrets where none belong.

Raises ConfigError, which never repeats a value that may be secret. Pure.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from nightkiln.backends.credentials import CredentialRef, CredentialSource, parse_credential
from nightkiln.config.fields import dotted
from nightkiln.config.layers import Layer, unknown
from nightkiln.config.table import Endpoint, ModelAlias, Section
from nightkiln.core.errors import ConfigError, UsageError
from nightkiln.wire.redact import excerpt

HINT: Final = (
    'keep the secret out of here and write where it is: "env:NAME", "file:PATH" or'
    ' "keyring:SERVICE/USER";'
    " whoever has seen the file should be given a new key"
)
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
)


def checked(section: Section, key: str, layer: Layer, home: Path) -> Section:
    """The section with its paths absolute. Raises ConfigError naming file and key."""
    if isinstance(section, Endpoint):
        return _endpoint(section, key, layer, home)
    if isinstance(section, ModelAlias):
        return _alias(section, key, layer, home)
    return section


def reference_of(text: str) -> CredentialRef | None:
    """The reference that a header's value is, or None for a value that is meant as it stands."""
    if not text.startswith(tuple(f"{source}:" for source in CredentialSource)):
        return None
    try:
        return parse_credential(text)
    except UsageError:
        return None


def references(endpoint: Endpoint) -> tuple[CredentialRef, ...]:
    """Every reference of an endpoint: its key's and its headers'."""
    said = [*([endpoint.key] if endpoint.key else []), *endpoint.keys, *endpoint.headers.values()]
    return tuple(found for text in said if (found := reference_of(text)) is not None)


def anchored(path: str, folder: Path, home: Path) -> Path:
    """A path as it was written in a file or a variable: `~` is the user's, the rest `folder`'s."""
    if path == "~" or path.startswith("~/"):
        return home / path[2:]
    return folder / path


def _endpoint(section: Endpoint, key: str, layer: Layer, home: Path) -> Endpoint:
    _check_url(section.url, layer.names(dotted(key, "url")))
    name, said = layer.names(dotted(key, "key")), section.key
    if said is not None and reference_of(said) is None:
        raise ConfigError(f"{name} is no reference, and a key is never kept in a file", hint=HINT)
    _check_keys(section, layer.names(dotted(key, "keys")))
    headers = {
        header: _header(header, value, layer.names(dotted(f"{key}.headers", header)))
        for header, value in section.headers.items()
    }
    return msgspec.structs.replace(
        section,
        key=said if said is None else _anchored_reference(said, layer, home),
        keys=tuple(_anchored_reference(one, layer, home) for one in section.keys),
        headers={
            header: _anchored_reference(value, layer, home) for header, value in headers.items()
        },
    )


def _check_keys(section: Endpoint, name: str) -> None:
    if any(reference_of(one) is None for one in section.keys):
        raise ConfigError(f"{name} is no reference, and a key is never kept in a file", hint=HINT)
    if section.keys and section.key is not None:
        raise ConfigError(f"{name} stands beside `key`", hint="put all of them into `keys`")
    if len(set(section.keys)) != len(section.keys):
        raise ConfigError(f"{name} names one key twice")


def _check_url(url: str, name: str) -> None:
    try:
        parts = urlsplit(url)
        has_host = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        has_host = False
    if not has_host:
        raise ConfigError(f"{name} is no http:// or https:// URL", hint="it ends in /v1")
    if "@" in parts.netloc or excerpt(url) != url:
        raise ConfigError(f"{name} has a secret in it", hint=f"take it out; {HINT}")


def _header(header: str, value: str, name: str) -> str:
    if any(mark in value for mark in "\r\n\0"):
        raise ConfigError(f"{name} has a line break in its value")
    if reference_of(value) is None and (
        header.lower() in SECRET_HEADERS or excerpt(value) != " ".join(value.split())
    ):
        raise ConfigError(f"{name} holds a secret, and none is ever kept in a file", hint=HINT)
    return value


def _anchored_reference(text: str, layer: Layer, home: Path) -> str:
    """A reference to a file with its path absolute; every other text as it is."""
    found = reference_of(text)
    if found is None or found.source is not CredentialSource.FILE:
        return text
    return f"{found.source}:{anchored(found.place, layer.folder, home)}"


def _alias(section: ModelAlias, key: str, layer: Layer, home: Path) -> ModelAlias:
    said = (section.endpoint is not None, bool(section.endpoints), section.file is not None)
    if sum(said) != 1:
        raise ConfigError(
            f"{layer.names(key)} has to have an endpoint or a file, and not both",
            hint='write endpoint = "NAME" and model = "ITS NAME THERE", or file = "PATH"',
        )
    if section.file is None:
        return section
    if section.model is not None:
        raise ConfigError(f"{layer.names(dotted(key, 'model'))} goes with an endpoint, not a file")
    if section.file.startswith("hf:"):
        return section
    path = anchored(section.file, layer.folder, home)
    return msgspec.structs.replace(section, file=str(path))


def check_aliases(
    models: Mapping[str, tuple[ModelAlias, Layer]], endpoints: Mapping[str, Endpoint]
) -> None:
    """Refuse an alias for an endpoint that nobody configured. Raises ConfigError."""
    for name, (alias, layer) in models.items():
        key = "endpoint" if alias.endpoint is not None else "endpoints"
        for place in alias.places:
            if place not in endpoints:
                where = layer.names(f"{dotted('models', name)}.{key}")
                message = f"{where} is {place!r}, and no [endpoints] has that name"
                raise unknown(message, place, endpoints, "there are")
