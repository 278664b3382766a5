"""A run attached to this process: its progress shown, its signals obeyed.

The first Ctrl-C or SIGTERM asks the run to stop, which keeps every answer; the
second leaves at once, which loses nothing that was journalled either.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from nightkiln.cli.progress import Progress
from nightkiln.cli.terminal import Terminal
from nightkiln.config import Settings
from nightkiln.core.events import Ended, JobView, Noticed, Opened, Opening, Progressed
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order

if TYPE_CHECKING:
    from nightkiln.sdk.verbs import Doing

T = TypeVar("T")
Listener = Callable[[Opened | Progressed | Noticed], None]

EXIT_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}
STOPPING: Final = (
    "stopping: requests in flight get up to 10 s to end, every answer is kept;"
    " the same signal again leaves at once"
)
DETACHING: Final = "no longer watching; the job is not touched"


class Attached:
    """One run or watch of this process; `signal_code` says afterwards what stopped it."""

    def __init__(self, terminal: Terminal, *, quiet: bool) -> None:
        self.signal_code: int | None = None
        self.is_elsewhere = False  # jobs go on when this process leaves
        self._terminal = terminal
        self._quiet = quiet
        self._stop = asyncio.Event()
        self._said = self._stopping = STOPPING

    async def run(self, order: Order, settings: Settings, *, environ: Mapping[str, str]) -> Ended:
        """Run an order to its end, or until a signal. Raises NightkilnError."""
        from nightkiln.sdk.verbs import doing

        async def work(listen: Listener) -> Ended:
            async with doing(settings, environ) as app:
                self._note(app)
                return await app.run(order, listen=listen, stop=self._stop)

        return await self._listening(work)

    async def resume(
        self, job: str, changes: Changes, settings: Settings, *, environ: Mapping[str, str]
    ) -> Ended:
        """Go on with a job to its end, or until a signal. Raises NightkilnError."""
        from nightkiln.sdk.verbs import doing

        async def work(listen: Listener) -> Ended:
            async with doing(settings, environ) as app:
                self._note(app)
                return await app.resume(job, changes, listen=listen, stop=self._stop)

        return await self._listening(work)

    async def watch(self, job: str, settings: Settings) -> JobView:
        """Watch a job until it ends, nobody runs it, or a signal. Raises NightkilnError."""
        from nightkiln.sdk.verbs import looking

        async def work(listen: Listener) -> JobView:
            async with looking(settings) as app:
                return await app.watch(job, listen=listen, stop=self._stop)

        self._said = DETACHING
        return await self._listening(work)

    def _note(self, app: "Doing") -> None:
        from nightkiln.sdk.verbs import is_elsewhere

        self.is_elsewhere = is_elsewhere(app)
        if self.is_elsewhere:
            self._stopping = self._said = DETACHING

    async def _listening(self, work: Callable[[Listener], Awaitable[T]]) -> T:
        progress = None if self._quiet else Progress(self._terminal)

        def listen(event: Opened | Progressed | Noticed) -> None:
            if isinstance(event, Opened):
                self._said = DETACHING if event.how is Opening.WATCHING else self._stopping
            if progress is not None:
                progress(event)

        with self._signals():
            try:
                return await work(listen)
            finally:
                if progress is not None:
                    progress.close()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in EXIT_CODES:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in EXIT_CODES:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        code = EXIT_CODES[number]
        if self._stop.is_set():
            self._terminal.clear()
            os._exit(code)  # no cleaning up: whoever asks twice wants out now
        self.signal_code = code
        if not self._quiet:
            self._terminal.say(self._said)
        self._stop.set()
