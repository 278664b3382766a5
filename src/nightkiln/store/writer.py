"""One connection that writes, one task that owns it, many use cases per fsync.

An fsync costs some milliseconds and everything else here some tenths of one,
so what is waiting when a transaction begins goes into that transaction, each
use case under a savepoint of its own. Ways this could fail, and what is done:

* A use case raises. Its savepoint is rolled back; its neighbours stand.
* A use case hangs. It is cancelled at its deadline. A statement that was cut
  off leaves the driver in an unknown place, so the connection is thrown away
  and the neighbours, who had not been answered yet, run again without it.
* A caller goes away. Before its turn its use case is skipped; after that it
  runs to the end, because only the owner of the connection may stop halfway.
* BEGIN, a statement or COMMIT meets a full, failing or busy disk. The engine may
  have rolled back by itself already. Everybody in the group hears of it, the
  connection is closed, and the next group opens a new one.
* COMMIT fails after bytes were written. The answer is an error, but the
  transaction may turn up after all when the log is read again: whole, never half.

Nobody is answered, not even with the use case's own error, before COMMIT is
durable: the error may be about work of a neighbour that was then not kept.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.exc import DBAPIError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from nightkiln.core.errors import HomeBusy, NightkilnError
from nightkiln.store.tx import Tx

_QUEUE: Final = 1024  # callers who wait in line; the next one waits to get in line
_GROUP: Final = 128  # use cases per transaction
_STOP_S: Final = 5.0  # how long a cancelled use case may take to end

Explain = Callable[[BaseException], NightkilnError | None]


@dataclass(eq=False)
class _Order:
    """A use case that waits for its turn or its answer."""

    use_case: Callable[[Tx], Awaitable[object]]
    answer: "asyncio.Future[object]"
    deadline: float  # of the event loop's clock
    context: Context = field(default_factory=copy_context)
    outcome: "asyncio.Task[object] | None" = None

    @property
    def waits(self) -> bool:
        return not self.answer.done()

    def fail(self, error: BaseException) -> None:
        if self.waits:
            self.answer.set_exception(error)


class _Overrun(Exception):
    """A use case was cut off; the transaction is lost and its neighbours run again."""


class Writer:
    """Runs use cases in groups. It never decides what they do."""

    def __init__(self, engine: AsyncEngine, explain: Explain) -> None:
        self._engine = engine
        self._explain = explain
        self._queue: asyncio.Queue[_Order | None] = asyncio.Queue(_QUEUE)
        self._connection: AsyncConnection | None = None
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="store writer")

    async def submit(
        self, use_case: Callable[[Tx], Awaitable[object]], *, deadline_s: float
    ) -> object:
        """Run a use case in the next group; return once it is durable."""
        if self._closing:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        order = _Order(use_case, loop.create_future(), loop.time() + deadline_s)
        try:
            async with asyncio.timeout_at(order.deadline):
                await self._queue.put(order)
                return await order.answer
        except TimeoutError:
            if order.answer.done() and not order.answer.cancelled():
                return order.answer.result()  # it raised TimeoutError itself, or won the race
            raise _too_late(deadline_s, begun=order.outcome is not None) from None

    async def aclose(self) -> None:
        """Finish everything in line, then close the connection."""
        if not self._closing:
            self._closing = True
            await self._queue.put(None)
        await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            more = True
            while more:
                group, more = await self._next_group()
                await self._settle(group)
        finally:
            await self._drop_connection()
            await self._engine.dispose()

    async def _next_group(self) -> tuple[list[_Order], bool]:
        order = await self._queue.get()
        group: list[_Order] = []
        while order is not None:
            group.append(order)
            if self._queue.empty() or len(group) == _GROUP:
                return group, True
            order = self._queue.get_nowait()
        return group, False

    async def _settle(self, group: list[_Order]) -> None:
        """Answer everybody in the group, with a result or an error."""
        while group := [order for order in group if order.waits]:
            transaction = asyncio.create_task(self._transact(group))
            await asyncio.wait({transaction})
            error = transaction.exception()
            if error is None:
                for order in group:
                    _answer(order)
                return
            await self._drop_connection()
            if not isinstance(error, _Overrun):
                for order in group:
                    order.fail(self._explain(error) or error)

    async def _transact(self, group: list[_Order]) -> None:
        if self._connection is None:
            self._connection = await self._engine.connect()
        transaction = await self._connection.begin()
        for order in group:
            if order.waits:
                await self._perform(self._connection, order)
        await transaction.commit()

    async def _perform(self, connection: AsyncConnection, order: _Order) -> None:
        """Run one use case under its savepoint. Raises what ends the whole transaction."""
        savepoint = await connection.begin_nested()
        task = asyncio.create_task(_called(order, Tx(connection)), context=order.context)
        order.outcome = task
        loop = asyncio.get_running_loop()
        await asyncio.wait({task}, timeout=max(0.0, order.deadline - loop.time()))
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_STOP_S)
            order.fail(_too_late(0.0, begun=False))
            raise _Overrun
        if task.cancelled():
            order.fail(HomeBusy("a write was cancelled from inside", hint="run it again"))
            raise _Overrun
        error = task.exception()
        if error is None:
            await savepoint.commit()
        elif isinstance(error, DBAPIError) and self._explain(error) is not None:
            raise error
        else:
            await savepoint.rollback()

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close()
        except (SQLAlchemyError, ResourceClosedError, OSError):
            # "no transaction is active": the engine rolled back before we asked.
            await connection.invalidate()


async def _called(order: _Order, tx: Tx) -> object:
    return await order.use_case(tx)


def _answer(order: _Order) -> None:
    task = order.outcome
    if task is None or not order.waits:
        if task is not None:
            task.exception()  # looked at, so that nobody warns about it
        return
    error = task.exception()
    if error is None:
        order.answer.set_result(task.result())
    else:
        order.answer.set_exception(error)


def _too_late(deadline_s: float, *, begun: bool) -> HomeBusy:
    waited = f" within {deadline_s:g} s" if deadline_s else " in time"
    fate = "it may still be written" if begun else "nothing was written"
    return HomeBusy(
        f"the store did not finish a write{waited}; {fate}",
        hint="the disk or another process is slow; the same command may be run again",
    )
