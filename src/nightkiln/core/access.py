"""Who may do what: API keys of ours, their scopes and what they may use.

A key's text is shown once and never kept. Nothing here makes one or looks one up.
"""

import enum
from typing import Final, NewType

import msgspec

from nightkiln.core.ids import ProjectId

KeyId = NewType("KeyId", str)


class Scope(enum.StrEnum):
    """What a key is good for. Each includes those before it."""

    READ = "read"  # look at jobs, results, files and usage of its project
    WRITE = "write"  # submit, cancel, delete
    ADMIN = "admin"  # keys and projects; every project


_ORDER: Final = (Scope.READ, Scope.WRITE, Scope.ADMIN)


class KeyCaps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key may use at most; None: no cap."""

    rows: int | None = None  # in all its jobs
    tokens: int | None = None  # in and out
    cost_usd: float | None = None
    requests_per_minute: int | None = None  # of HTTP
    models: tuple[str, ...] | None = None  # that it may ask, by name; None: every one


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without its text."""

    id: KeyId
    project: ProjectId
    name: str
    start: str  # the first letters of its text, to tell keys apart by
    sha256: str  # of its text
    scope: Scope
    created_at: float  # epoch seconds
    expires_at: float | None = None
    used_at: float | None = None
    revoked_at: float | None = None
    caps: KeyCaps = KeyCaps()

    def is_good(self, now: float) -> bool:
        """True until it is revoked or expires."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def may(self, scope: Scope) -> bool:
        """True when this scope is included in the key's."""
        return _ORDER.index(scope) <= _ORDER.index(self.scope)

    def may_ask(self, model: str) -> bool:
        """True when requests with this key may go to this model, by the name that they use."""
        return self.caps.models is None or model in self.caps.models
