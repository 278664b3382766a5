"""Answers that go on for as long as a client listens, and what they ask again meanwhile.

A key is asked for once, when a request begins; a stream outlives that moment by an
hour, so it asks again: a key that was revoked or whose time is over ends its streams.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import Depends

from nightkiln.http.access import Reader, Serving
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.store import keys

AGAIN_S: Final = 2.0  # between two looks whether a key is still good


async def _counted(caller: Reader, parts: Serving) -> AsyncIterator[None]:
    """A place among the streams, until the answer is over."""
    settings = parts.settings
    parts.streams.begin(caller.key.id, each=settings.streams_each, most=settings.streams)
    try:
        yield
    finally:
        parts.streams.end(caller.key.id)


Counted = Annotated[None, Depends(_counted)]


async def is_still_good(parts: Parts, caller: Caller) -> bool:
    """False once the key of a stream has been revoked or its time is over."""
    found = await parts.store.read(lambda tx: keys.by_sha256(tx, caller.key.sha256))
    return found is not None and found.is_good(parts.clock())
