"""API keys by their text: looked up by hash, remembered for a moment, counted by the minute.

What is remembered is bounded, and good for less than a second, so a key that is
revoked is refused within one. Unknown keys are not remembered: nobody can push
the known ones out by guessing.
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from typing import Final, TypeVar

import msgspec

from nightkiln.core.access import ApiKey, KeyId
from nightkiln.core.errors import DiskError, HomeBusy
from nightkiln.store import keys
from nightkiln.store.base import ControlPlane

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED: Final = 1024
_FRESH_S: Final = 0.9
_USE_NOTED_S: Final = 60.0
_NOTE_DEADLINE_S: Final = 2.0


class _Known(msgspec.Struct, frozen=True):
    key: ApiKey
    at: float  # of the loop's clock


class Keyring:
    """The keys of one server."""

    def __init__(self, store: ControlPlane) -> None:
        self._store = store
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._noted: OrderedDict[KeyId, float] = OrderedDict()
        self._left: OrderedDict[KeyId, tuple[float, float]] = OrderedDict()

    async def find(self, text: str, *, now: float) -> ApiKey | None:
        """The key with this text, if there is one and it is good."""
        return await self.find_sha256(hashlib.sha256(text.encode()).hexdigest(), now=now)

    async def find_sha256(self, sha256: str, *, now: float) -> ApiKey | None:
        """The key whose text has this hash, if there is one and it is good."""
        known = self._known.get(sha256)
        time = asyncio.get_running_loop().time()
        if known is None or time - known.at > _FRESH_S:
            found = await self._store.read(lambda tx: keys.by_sha256(tx, sha256))
            if found is None or not hmac.compare_digest(found.sha256, sha256):
                return None
            known = _Known(found, time)
            _put(self._known, sha256, known)
        return known.key if known.key.is_good(now) else None

    async def note_use(self, key: ApiKey, *, now: float) -> None:
        """Record that a key was used, at most once a minute; a disk that is full stops nobody."""
        time = asyncio.get_running_loop().time()
        if time - self._noted.get(key.id, -_USE_NOTED_S) < _USE_NOTED_S:
            return
        _put(self._noted, key.id, time)
        try:
            await self._store.write(
                lambda tx: keys.used(tx, key.id, now=now), deadline_s=_NOTE_DEADLINE_S
            )
        except (DiskError, HomeBusy):
            return  # it is for people to look at; the next minute writes it again

    def wait_s(self, key: ApiKey) -> float:
        """Take one of the key's requests a minute; if none is left, how long until there is one."""
        a_minute = key.caps.requests_per_minute
        if a_minute is None:
            return 0.0
        time = asyncio.get_running_loop().time()
        left, at = self._left.get(key.id, (float(a_minute), time))
        left = min(float(a_minute), left + (time - at) * a_minute / 60)
        taken = left >= 1
        _put(self._left, key.id, (left - 1 if taken else left, time))
        return 0.0 if taken else (1 - left) * 60 / max(a_minute, 1)


def _put(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
