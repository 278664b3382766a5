"""The one door to the database: `write` for use cases, `read` for queries.

Holds connections and nothing else; what the tables mean is in `jobs`, `chunks`,
`generations` and `ledger`. Never read by more than one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.ext.asyncio import AsyncEngine

from nightkiln.core.errors import HomeBusy, NightkilnError
from nightkiln.store import sqlite
from nightkiln.store.tx import Tx
from nightkiln.store.writer import Writer

T = TypeVar("T")


class Database:
    """An open database. Made by `open`; close it with `aclose`."""

    def __init__(self, path: Path, *, readers: AsyncEngine, writer: Writer | None) -> None:
        self._path = path
        self._readers = readers
        self._writer = writer

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> "Database":
        """Open a database file, making or upgrading it first unless `read_only`.

        The directory has to exist. Raises NotFound (read_only and nothing
        there), HomeBusy (of a newer nightkiln, or locked) and DiskError.
        """
        await asyncio.to_thread(sqlite.prepare, path, read_only=read_only)
        readers = sqlite.read_engine(path, read_only=read_only)
        if read_only:
            return cls(path, readers=readers, writer=None)

        def explain(error: BaseException) -> NightkilnError | None:
            return sqlite.explain(error, path)

        return cls(path, readers=readers, writer=Writer(sqlite.write_engine(path), explain))

    async def write(self, use_case: Callable[[Tx], Awaitable[T]], *, deadline_s: float = 30.0) -> T:
        """Run a use case and return once its effects are durable; see `base.ControlPlane`."""
        if self._writer is None:
            raise RuntimeError("the store was opened for reading only")
        result = await self._writer.submit(use_case, deadline_s=deadline_s)
        return cast("T", result)  # the writer carries answers of every type at once

    async def read(self, query: Callable[[Tx], Awaitable[T]], *, deadline_s: float = 30.0) -> T:
        """Run a query on one consistent snapshot; it cannot write."""
        deadline = asyncio.timeout(deadline_s)
        try:
            async with deadline, self._readers.connect() as connection, connection.begin():
                return await query(Tx(connection))
        except DBAPIError as error:
            known = sqlite.explain(error, self._path)
            if known is None:
                raise
            raise known from error
        except (TimeoutError, NoConnectionLeft) as error:
            if isinstance(error, TimeoutError) and not deadline.expired():
                raise
            raise HomeBusy(
                f"the store did not answer a query within {deadline_s:g} s",
                hint="the disk is slow or the machine is overloaded; run it again",
            ) from error

    async def aclose(self) -> None:
        """Finish what was queued, then close every connection. May be called twice."""
        try:
            if self._writer is not None:
                await self._writer.aclose()
        finally:
            await self._readers.dispose()
