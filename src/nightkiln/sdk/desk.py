"""Where a client's calls become calls of its kiln, on the loop of this process.

After a fork the child gets a kiln of its own: the parent's belongs to a loop
that does not exist here. Errors keep their class and speak of arguments.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.core.events import JobView, Opening, Planned
from nightkiln.sdk import loopthread
from nightkiln.sdk.base import Accepted, Kiln
from nightkiln.sdk.notices import say
from nightkiln.sdk.owncolumns import OwnColumns, own_columns
from nightkiln.sdk.shaping import Results, Shape, shaped
from nightkiln.sdk.showing import display, progress_of
from nightkiln.sdk.submission import Submission, order_for
from nightkiln.sdk.waiting import Wait, check_complete
from nightkiln.sdk.wording import in_python
from nightkiln.service.orders import Order
from nightkiln.tables.frames import frame_of

T = TypeVar("T")


class Desk:
    """A client's way to its kiln."""

    def __init__(
        self, make: Callable[[], Kiln], settle: Callable[[Order], Order], *, quiet: bool
    ) -> None:
        self._make = make
        self._settle = settle  # fills in what an order leaves open
        self._quiet = quiet
        self._thread: loopthread.LoopThread | None = None
        self._kiln: Kiln | None = None
        self._left: list[Kiln] = []  # a parent's: kept, so that nothing closes them
        self._own = OwnColumns()
        self._is_closed = False

    def kiln(self) -> tuple[loopthread.LoopThread, Kiln]:
        """The kiln of this process, and the loop it belongs to. Raises UsageError once closed."""
        if self._is_closed:
            raise UsageError(
                "this client is closed", hint="use it inside its `with`, or make another one"
            )
        thread = loopthread.current()
        if self._kiln is None or self._thread is not thread:
            if self._kiln is not None:
                self._left.append(self._kiln)
            self._thread, self._kiln = thread, self._make()
            thread.at_exit(self._kiln.aclose)
        return thread, self._kiln

    def call(self, work: Callable[[Kiln], Coroutine[Any, Any, T]]) -> T:
        """Do something at the kiln and wait for it."""
        with _worded():
            thread, kiln = self.kiln()
            return thread.call(work(kiln))

    async def call_async(self, work: Callable[[Kiln], Coroutine[Any, Any, T]]) -> T:
        """Do something at the kiln and await it."""
        with _worded():
            thread, kiln = self.kiln()
            return await thread.call_async(work(kiln))

    # -- submitting

    def order(self, asked: Submission) -> Order:
        """The order for a submission; a frame's rows are staged here and now, in this thread."""
        with _worded():
            if asked.path is not None:
                columns = self._head(asked.order) if asked.is_mixed else None
                return self._settle(order_for(asked, columns))
            _, kiln = self.kiln()
            staged = kiln.stage(frame_of(asked.data, needed=asked.needed))
            try:
                return self._settle(order_for(asked, staged.columns, staged))
            except NightkilnError:
                kiln.unstage(staged)
                raise

    def _head(self, order: Order) -> tuple[str, ...]:
        settled = self._settle(order)
        return self.call(lambda kiln: kiln.head(settled))

    def submit(self, asked: Submission) -> Accepted:
        """Submit and say what a person should know of it."""
        order = self.order(asked)
        own = own_columns(asked.data)
        accepted = self.call(lambda kiln: kiln.submit(order))
        self._own.keep(accepted.job, own)
        self.tell(accepted)
        return accepted

    async def submit_async(self, asked: Submission) -> Accepted:
        """Submit without blocking the caller's loop."""
        order = await asyncio.to_thread(self.order, asked)
        own = await asyncio.to_thread(own_columns, asked.data)
        accepted = await self.call_async(lambda kiln: kiln.submit(order))
        self._own.keep(accepted.job, own)
        self.tell(accepted)
        return accepted

    def tell(self, accepted: Accepted) -> None:
        """Say how a submission met what was there."""
        if self._quiet:
            return
        for notice in accepted.notices:
            say(notice)
        if accepted.how is not Opening.NEW:
            say(_opening_line(accepted))

    def plan(self, asked: Submission) -> Planned:
        """What a submission would do; staged rows are let go of again."""
        order = self.order(asked)
        return self.call(lambda kiln: kiln.plan(order))

    async def plan_async(self, asked: Submission) -> Planned:
        """As `plan`, without blocking the caller's loop."""
        order = await asyncio.to_thread(self.order, asked)
        return await self.call_async(lambda kiln: kiln.plan(order))

    # -- waiting

    def wait(self, job: str, timeout_s: float | None, *, complete: bool = True) -> JobView:
        """Wait until a job is over, showing how far it is. Raises as `Job.wait` says."""
        wait, shown = Wait(job, timeout_s), display()
        try:
            while True:
                found = self.call(lambda kiln: kiln.follow(job, seen=wait.seen, wait_s=wait.wait_s))
                shown.show(progress_of(found.progress))
                if wait.is_over(found):
                    break
        except KeyboardInterrupt:
            say(f'no longer waiting; job {job} goes on: await_job_results("{job}") waits again')
            raise
        finally:
            shown.close()
        if complete:
            check_complete(found.view)
        return found.view

    async def wait_async(
        self, job: str, timeout_s: float | None, *, complete: bool = True
    ) -> JobView:
        """As `wait`, without blocking the caller's loop and without a display."""
        wait = Wait(job, timeout_s)
        while True:
            found = await self.call_async(
                lambda kiln: kiln.follow(job, seen=wait.seen, wait_s=wait.wait_s)
            )
            if wait.is_over(found):
                break
        if complete:
            check_complete(found.view)
        return found.view

    # -- results

    def results(self, job: str, shape: Shape) -> Results:
        """A job's results."""
        answered = self.call(lambda kiln: kiln.answered(job, partial=shape.partial))
        with _worded():
            return shaped(answered, shape, self._own.of(answered.job.id))

    async def results_async(self, job: str, shape: Shape) -> Results:
        """A job's results, made in a thread of the caller's."""
        answered = await self.call_async(lambda kiln: kiln.answered(job, partial=shape.partial))
        with _worded():
            own = self._own.of(answered.job.id)
            return await asyncio.to_thread(shaped, answered, shape, own)

    # -- the end

    def close(self) -> None:
        """Stop working and say what is not over. Nothing can be asked afterwards."""
        if self._is_open():
            for line in self.call(lambda kiln: kiln.aclose()):
                say(line)
            self._let_go()
        self._is_closed = True

    async def aclose(self) -> None:
        """Stop working and say what is not over, without blocking the caller's loop."""
        if self._is_open():
            for line in await self.call_async(lambda kiln: kiln.aclose()):
                say(line)
            self._let_go()
        self._is_closed = True

    def _is_open(self) -> bool:
        return self._kiln is not None and self._thread is loopthread.running()

    def _let_go(self) -> None:
        """Forget the kiln that was closed."""
        assert self._thread is not None
        assert self._kiln is not None
        self._thread.not_at_exit(self._kiln.aclose)
        self._thread = self._kiln = None


def _opening_line(accepted: Accepted) -> str:
    # Answers in a journal are not counted yet when a job opens, so none is no number to say.
    some = f"{accepted.reused:,} rows answered before are kept, $0"
    kept = some if accepted.reused else "answers it has are kept, $0"
    match accepted.how:
        case Opening.CONTINUED:
            return f"job {accepted.job} had ended early and goes on; {kept}"
        case Opening.WITH_ERRORS:
            return (
                f"job {accepted.job} has finished before, with row errors: nothing is asked"
                f' (job("{accepted.job}").retry() asks those rows again; force_new=True all)'
            )
        case Opening.WATCHING:
            return f"another process runs job {accepted.job}: watching it"
    return f"job {accepted.job} is the same and goes on; {kept}"


@contextmanager
def _worded() -> Iterator[None]:
    """Errors that name options of the command line name arguments instead."""
    try:
        yield
    except NightkilnError as error:
        in_python(error)
        raise
