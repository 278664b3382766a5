"""One request to the model, from its arrival to its outcome on the wire.

An exchange ends exactly once: answered, refused, broken on purpose, or left by its client. It
never outlives its connection.
"""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from nightkiln.simulate import answers, replies
from nightkiln.simulate.admission import Place
from nightkiln.simulate.faults import FaultKind
from nightkiln.simulate.provider import Provider
from nightkiln.simulate.ticks import Alarm

EVENTS_PER_TURN: Final = 64  # of a stream without pauses, so that others get their turn
CONGESTION_PAUSE_S: Final = 0.005
BROKEN_END: Final = b"<html>oops"
LOST_END_BYTES: Final = 20
NO_EVENTS: Final[Iterator[bytes]] = iter(())
HTML_PAGE: Final = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>\n"


class Wire(Protocol):
    """The connection that an exchange answers on."""

    @property
    def is_congested(self) -> bool:
        """Whether the client reads too slowly for more bytes."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Send what is written, then close."""
        ...

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        ...

    def finished(self) -> None:
        """The exchange is over; the connection may start its next one."""
        ...


class Exchange:
    """One request in service."""

    __slots__ = ("_alarm", "_ask", "_events", "_has_slot", "_is_over", "_provider", "_wire")

    def __init__(self, provider: Provider, wire: Wire, ask: answers.Ask) -> None:
        self._provider = provider
        self._wire = wire
        self._ask = ask
        self._alarm: Alarm | None = None
        self._events: Iterator[bytes] = NO_EVENTS
        self._has_slot = False
        self._is_over = False

    def begin(self) -> None:
        """Ask for service."""
        verdict = self._provider.admit(self._ask, self, time.monotonic())
        if verdict is Place.SERVED:
            self.serve()
        elif not isinstance(verdict, Place):
            headers = replies.retry_headers(verdict.retry_after_s) + self._limit_headers()
            message = f"simulated: the limit on {verdict.reason} is reached"
            self._wire.write(
                replies.error_reply(429, message, kind=verdict.reason, headers=headers)
            )
            self._end(f"http_429_{verdict.reason}")

    def serve(self) -> None:
        """Start: a slot is ours."""
        if self._is_over:  # the client left between the offer and this turn
            self._provider.give_back(time.monotonic())
            return
        self._has_slot = True
        provider = self._provider
        fault = provider.roll_fault()
        if fault is not None:
            self._later(provider.first_byte_s(), functools.partial(self._show, fault))
        elif self._ask.stream:
            self._later(provider.first_byte_s(), self._start_stream)
        elif delay_s := provider.answer_s(self._ask):
            self._later(delay_s, self._answer)
        else:
            self._answer()

    def abandon(self) -> None:
        """The client went away."""
        if self._is_over:
            return
        if not self._has_slot:
            self._provider.forget(self)
        self._end("client_disconnect")

    # How it goes well.

    def _answer(self) -> None:
        headers = b"x-prompt-hash: %016x\r\n%b" % (self._ask.prompt, self._limit_headers())
        self._wire.write(replies.reply(200, self._body(), headers=headers))
        self._count_answered()
        self._end("ok")

    def _start_stream(self) -> None:
        self._events = self._new_events()
        self._wire.write(replies.event_stream_head(self._limit_headers()))
        self._stream_on()

    def _stream_on(self) -> None:
        settings = self._provider.settings
        pause_s = settings.itl * settings.sse_tokens / 1000
        if self._wire.is_congested:
            self._later(CONGESTION_PAUSE_S, self._stream_on)
            return
        events = list(itertools.islice(self._events, 1 if pause_s else EVENTS_PER_TURN))
        if events:
            self._wire.write(b"".join(map(replies.chunk, events)))
            self._later(pause_s, self._stream_on)
            return
        self._wire.write(replies.EVENT_STREAM_END)
        self._count_answered()
        self._end("ok")

    # How it goes wrong.

    def _show(self, fault: FaultKind) -> None:
        match fault:
            case FaultKind.SERVER_ERROR | FaultKind.UNAVAILABLE | FaultKind.THROTTLED:
                self._refuse(fault)
            case FaultKind.HANG:
                self._provider.tally.ended(fault.outcome, time.monotonic())
                self._later(
                    self._provider.settings.hang_s, functools.partial(self._show, FaultKind.RESET)
                )
                return
            case FaultKind.DRIP:
                self._provider.tally.ended(fault.outcome, time.monotonic())
                reply = replies.reply(200, self._body(), headers=self._limit_headers())
                head, end, body = reply.partition(b"\r\n\r\n")
                self._wire.write(head + end)
                self._drip(body, 0)
                return
            case FaultKind.RESET:
                self._wire.reset()
            case FaultKind.TRUNCATED:
                self._wire.write(self._half_a_reply())
                self._wire.close()
            case _:
                self._wire.write(self._useless_reply(fault))
        self._end(fault.outcome)

    def _refuse(self, fault: FaultKind) -> None:
        status = int(fault.value[1:])
        wait_s = {503: 1.0, 429: self._provider.settings.retry_after}.get(status)
        headers = self._limit_headers()
        if wait_s is not None:
            headers += replies.retry_headers(wait_s)
        self._wire.write(replies.error_reply(status, "simulated: injected", headers=headers))

    def _useless_reply(self, fault: FaultKind) -> bytes:
        headers = self._limit_headers()
        if fault is FaultKind.HTML:
            return replies.reply(200, HTML_PAGE, headers=headers, content_type=replies.HTML)
        if fault is FaultKind.NO_CHOICES:
            body = answers.body_without_choices(self._ask, created=int(time.time()))
        elif fault is FaultKind.MALFORMED:
            body = self._body()[:-LOST_END_BYTES] + BROKEN_END
        else:
            body = b""
        return replies.reply(200, body, headers=headers)

    def _half_a_reply(self) -> bytes:
        if self._ask.stream:
            head = replies.event_stream_head(self._limit_headers())
            return head + replies.chunk(next(self._new_events()))
        body = self._body()
        reply = replies.reply(200, body, headers=self._limit_headers())
        return reply[: len(reply) - len(body) // 2]

    def _drip(self, body: bytes, at: int) -> None:
        self._wire.write(body[at : at + 1])
        if at + 1 < len(body):
            pause_s = self._provider.settings.drip_s
            self._later(pause_s, functools.partial(self._drip, body, at + 1))
            return
        self._count_answered()  # the client that waited for it has a right answer
        self._end("ok")

    # What all of them use.

    def _body(self) -> bytes:
        ask, now = self._ask, int(time.time())
        match ask.kind:
            case answers.Kind.CHAT:
                return answers.chat_body(ask, created=now)
            case answers.Kind.COMPLETION:
                return answers.completion_body(ask, created=now)
            case answers.Kind.RESPONSE:
                return answers.response_body(ask, created=now)
            case _:
                return answers.embedding_body(ask, dimensions=self._provider.settings.embed_dim)

    def _new_events(self) -> Iterator[bytes]:
        return answers.stream_events(
            self._ask, created=int(time.time()), step=self._provider.settings.sse_tokens
        )

    def _limit_headers(self) -> bytes:
        limits = self._provider.limits
        if not limits.active or not self._provider.settings.tells:
            return b""
        return limits.headers(time.monotonic())

    def _count_answered(self) -> None:
        ask = self._ask
        self._provider.tally.answered(
            ask.prompt, prompt_tokens=ask.prompt_tokens, completion_tokens=ask.output_tokens
        )

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._alarm = self._provider.wheel.after(delay_s, callback)

    def _end(self, outcome: str) -> None:
        self._is_over = True
        if self._alarm is not None:
            self._alarm.cancel()  # also breaks the cycle through its callback
            self._alarm = None
        now = time.monotonic()
        self._provider.tally.ended(outcome, now)
        if self._has_slot:
            self._has_slot = False
            self._provider.give_back(now)
        self._wire.finished()
