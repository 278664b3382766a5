"""Sends events to webhooks for as long as a server lives, of all projects.

What there is to send stands in the store, so a deliverer that begins after a kill -9
does what the dead one would have done; an event whose answer was lost is sent again.
At most so many tries go on at once, and one at a time for each webhook: a receiver
that hangs delays its own events only.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import msgspec

from nightkiln.app.tending import Tended, told
from nightkiln.core.errors import DiskError, HomeBusy, UnreachableError, UsageError
from nightkiln.core.webhooks import Delivery, Webhook, WebhookId
from nightkiln.service.context import Context
from nightkiln.service.posting import post
from nightkiln.service.reaching import Reaching
from nightkiln.service.webhooks import KEPT_S, Pace, tried
from nightkiln.store import webhooks
from nightkiln.wire.openai.webhooks import signed_headers

_AT_ONCE: Final = 8
_LOOK_S: Final = 1.0
_FORGET_S: Final = 3600.0
_UNRECORDED_S: Final = 60.0  # of rest for a webhook whose last try is not on record
_GOOD: Final = range(200, 300)
_MOVED: Final = range(300, 400)

_log: Final = logging.getLogger(__name__)


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """How events are sent."""

    rules: Reaching = Reaching()
    pace: Pace = Pace()


class Deliverer:
    """The one sender of a home. `start` once, `aclose` once; on one event loop."""

    def __init__(self, context: Context, how: Posting | None = None) -> None:
        self._context = context
        self._how = how or Posting()
        # Its own threads: receivers that hang must not take those that read and write files.
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="deliverer")
        self._busy: dict[WebhookId, asyncio.Task[None]] = {}
        self.look = Tended("the sending of events", self._look_forever)
        self._resting: dict[WebhookId, float] = {}  # until when, after a bug in sending to it
        self._forgot_at = float("-inf")

    @property
    def rules(self) -> Reaching:
        """Which addresses may be told."""
        return self._how.rules

    def start(self) -> None:
        """Begin to look for what is due."""
        self.look.start()

    async def aclose(self) -> None:
        """Stop. A try that is under way is forgotten, and made again after the next start."""
        await self.look.aclose()
        tasks = [*self._busy.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._look()
            except (DiskError, HomeBusy) as error:
                _log.warning("events wait, for the store cannot be used: %s", error.message)
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> None:
        """Begin what is due, as far as there is room."""
        now, store = self._context.clock(), self._context.store
        if now - self._forgot_at >= _FORGET_S:
            await store.write(lambda tx: webhooks.forget(tx, before=now - KEPT_S))
            self._forgot_at = now
        at = asyncio.get_running_loop().time()
        self._resting = {one: until for one, until in self._resting.items() if until > at}
        room, busy = _AT_ONCE - len(self._busy), [*self._busy, *self._resting]
        if room <= 0:
            return
        found = await store.read(lambda tx: webhooks.due(tx, now=now, but=busy, limit=room))
        for webhook, delivery in found:
            task = asyncio.create_task(self._deliver(webhook, delivery), name=delivery.id)
            self._busy[webhook.id] = task
            task.add_done_callback(partial(self._done, webhook.id))

    def _done(self, webhook: WebhookId, ended: asyncio.Task[None]) -> None:
        del self._busy[webhook]
        if not ended.cancelled() and (bug := ended.exception()) is not None:
            _log.error("sending an event stumbled: %s", told(bug))
            self._resting[webhook] = asyncio.get_running_loop().time() + _UNRECORDED_S

    async def _deliver(self, webhook: Webhook, delivery: Delivery) -> None:
        """Try once, and record what came of it."""
        status, trouble = await self._tried(webhook, delivery)
        after = tried(
            delivery,
            status=status,
            trouble=trouble,
            pace=self._how.pace,
            now=self._context.clock(),
        )
        try:
            await self._context.store.write(lambda tx: webhooks.save(tx, after))
        except (DiskError, HomeBusy) as error:
            _log.warning("a try to send an event is not on record: %s", error.message)
            await asyncio.sleep(_UNRECORDED_S)  # or a full disk would send it every second

    async def _tried(self, webhook: Webhook, delivery: Delivery) -> tuple[int | None, str]:
        """The status of the answer, and what is wrong with it or kept it from coming."""
        body = delivery.body.encode()
        headers = signed_headers(
            event_id=delivery.id, body=body, secrets=[webhook.secret], now=self._context.clock()
        )
        loop, rules = asyncio.get_running_loop(), self._how.rules
        try:
            status = await loop.run_in_executor(
                self._threads, post, webhook.url, headers, body, rules
            )
        except (UnreachableError, UsageError) as error:
            return None, error.message
        if status in _GOOD:
            return status, ""
        if status in _MOVED:
            return status, f"it answered {status}, and redirects are not followed"
        return status, f"it answered {status}"
