"""Threads for what waits on other people's machines: looking a name up, fetching a table.

Such waits are as long as a stranger wants them to be, and a thread that is in one
cannot be called back. So they have threads of their own, never those that read and
write our files: at most so many in all, and fewer for each project. Who finds no
room waits, and the wait counts against the same deadline. A caller leaves at its
deadline; its thread keeps its place until it really ends, so that strangers who
hang cannot heap threads up.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, TypeVar

from nightkiln.core.errors import NightkilnError, UnreachableError
from nightkiln.core.ids import ProjectId

T = TypeVar("T")

AT_ONCE: Final = 16  # in all
EACH: Final = 4  # of them, for one project


class Outward:
    """The threads of one server. On one event loop; they die with the process."""

    def __init__(self, *, at_once: int = AT_ONCE, each: int = EACH) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._each = each
        self._projects: dict[ProjectId, _Project] = {}

    async def run(
        self, project: ProjectId, work: Callable[[], T], *, deadline_s: float, what: str
    ) -> T:
        """What blocking work gives. Raises what it raises, and UnreachableError when time is up.

        `what` is what took so long, as the error names it. The work may still be going
        on then: what it leaves behind is for its owner to clear away.
        """
        try:
            async with asyncio.timeout(deadline_s) as deadline:
                return await self._run(project, work)
        except TimeoutError as error:
            if not deadline.expired():
                raise  # of the work itself
            raise UnreachableError(f"{what} took longer than {deadline_s:.0f} s") from error

    async def _run(self, project: ProjectId, work: Callable[[], T]) -> T:
        async with self._waiting(project) as found:
            async with AsyncExitStack() as given_back:
                await found.room.acquire()
                given_back.callback(found.room.release)
                await self._room.acquire()
                given_back.pop_all()  # they are the thread's now
            found.users += 1
            loop = asyncio.get_running_loop()
            said: asyncio.Future[T] = loop.create_future()
            thread = threading.Thread(
                target=_work, args=(loop, work, said, lambda: self._over(project)), daemon=True
            )
            thread.name = f"outward {project}"
            try:
                thread.start()
            except RuntimeError:  # no thread can be had
                self._over(project)
                raise
        return await said

    @asynccontextmanager
    async def _waiting(self, project: ProjectId) -> AsyncIterator["_Project"]:
        """A project's share, kept for as long as somebody of it waits or works."""
        found = self._projects.setdefault(project, _Project(self._each))
        found.users += 1
        try:
            yield found
        finally:
            self._leave(project)

    def _over(self, project: ProjectId) -> None:
        """A thread has ended: its places are free."""
        self._room.release()
        self._projects[project].room.release()
        self._leave(project)

    def _leave(self, project: ProjectId) -> None:
        found = self._projects[project]
        found.users -= 1
        if found.users == 0:
            del self._projects[project]


class _Project:
    def __init__(self, each: int) -> None:
        self.room = asyncio.Semaphore(each)
        self.users = 0


def _work(
    loop: asyncio.AbstractEventLoop,
    work: Callable[[], T],
    said: "asyncio.Future[T]",
    over: Callable[[], None],
) -> None:
    """What a thread does: the work, then say what came of it to whoever still listens.

    A bug goes up to the thread's own end, where it is told; whoever asked hears that.
    """
    results: list[T] = []
    trouble: Exception = RuntimeError("a bug in what waits on another machine")

    def ended() -> None:
        over()
        if said.done():
            return  # whoever asked has left
        if results:
            said.set_result(results[0])
        else:
            said.set_exception(trouble)

    try:
        results.append(work())
    except (NightkilnError, OSError) as error:
        trouble = error
    finally:
        with suppress(RuntimeError):  # the loop is closed: nobody is there
            loop.call_soon_threadsafe(ended)
