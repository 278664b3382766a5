"""The API keys of a home, while no server owns it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nightkiln.core.access import ApiKey, KeyId
from nightkiln.core.errors import HomeBusy, NotFound
from nightkiln.service import keys
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish, NewKey
from nightkiln.store.database import Database
from nightkiln.vault.home import Home


class Keyholder:
    """The keys of every project: whoever may write the home may have them all."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, wish: KeyWish) -> NewKey:
        """Make a key. Raises UsageError."""
        return await keys.create(self._context, wish)

    async def rotate(self, key: str, *, overlap_s: float) -> NewKey:
        """A new key in place of one, which is good a while longer. Raises NotFound, UsageError."""
        context = await self._context_of(key)
        return await keys.rotate(context, KeyId(key), overlap_s=overlap_s)

    async def revoke(self, key: str) -> ApiKey:
        """End a key now. Raises NotFound."""
        return await keys.revoke(await self._context_of(key), KeyId(key))

    async def _context_of(self, key: str) -> Context:
        for known in await keys.list_keys(self._context, everyone=True):
            if known.id == key:
                return self._context.of(known.project)
        raise NotFound(f"no key {key}", hint="nightkiln keys list shows them")


@asynccontextmanager
async def open_keyholder(root: Path) -> AsyncIterator[Keyholder]:
    """Open a home to change its keys. Raises HomeBusy while a server owns it."""
    home = Home(root)
    try:
        home.hold()
    except HomeBusy as error:
        raise HomeBusy(
            f"the home {root} is in use",
            hint="wait until it is free, or set NIGHTKILN_URL and NIGHTKILN_API_KEY",
        ) from error
    try:
        store = await Database.open(home.database)
        try:
            yield Keyholder(Context(store, home))
        finally:
            await store.aclose()
    finally:
        home.release()


async def keys_in(root: Path) -> list[ApiKey]:
    """Every key of a home, newest first, also while a server owns it. Raises NotFound."""
    home = Home(root)
    store = await Database.open(home.database, read_only=True)
    try:
        return await keys.list_keys(Context(store, home), everyone=True)
    finally:
        await store.aclose()
