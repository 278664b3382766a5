"""A backend in virtual time whose weather is drawn from a seed, and the account of what it saw.

It serves some requests at once and makes the rest wait or refuses them, answers
with what the prompt asks for, fails now and then, and goes through spells: it is
down, hangs, is full, throttles, refuses our credential, or slows down.
"""

import asyncio
import enum
import random
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Prompt, Request
from nightkiln.core.usage import Usage


class Spell(enum.StrEnum):
    """What the weather may be for a while."""

    DOWN = "no connection"
    ERRORS = "500 to everybody"
    FULL = "503 to everybody"
    THROTTLED = "429 to everybody"
    REFUSED = "401 to everybody"
    BROKE = "no money"
    HANGS = "no answer to anybody"
    SLOW = "five times as slow"


SPELLS = {
    Spell.DOWN: Fault(kind=FaultClass.TRANSIENT, code="refused", sent=False, unreachable=True),
    Spell.ERRORS: Fault(kind=FaultClass.TRANSIENT, code="http_500", status=500),
    Spell.FULL: Fault(kind=FaultClass.OVERLOAD, code="http_503", status=503),
    Spell.THROTTLED: Fault(
        kind=FaultClass.THROTTLE, code="rate_limit_exceeded", status=429, retry_after_s=0.5
    ),
    Spell.REFUSED: Fault(kind=FaultClass.AUTH, code="invalid_api_key", status=401),
    Spell.BROKE: Fault(kind=FaultClass.QUOTA, code="insufficient_quota", status=429),
}
SOMETIMES = (
    Fault(kind=FaultClass.TRANSIENT, code="http_500", status=500),
    Fault(kind=FaultClass.OVERLOAD, code="http_503", status=503, retry_after_s=0.2),
    Fault(kind=FaultClass.THROTTLE, code="rate_limit_exceeded", status=429, retry_after_s=0.1),
    Fault(kind=FaultClass.PROTOCOL, code="not_json", status=200),
    Fault(kind=FaultClass.AMBIGUOUS, code="reset"),
)
_TURN_S = 0.001  # virtual seconds of a refusal there and back
FULL = Fault(kind=FaultClass.THROTTLE, code="rate_limit_exceeded", status=429)
BAD = Fault(kind=FaultClass.PERMANENT, code="http_400", status=400)
TIMEOUT = Fault(kind=FaultClass.AMBIGUOUS, code="timeout", message="no answer in time")


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's plan."""

    slots: int
    queues: bool  # what is too much waits; else it is refused
    latency_s: float
    sigma: float
    faulty: float  # the share of requests that fail for no reason
    spells: tuple[tuple[float, float, Spell], ...] = ()  # from, to

    def now(self, moment: float) -> Spell | None:
        """The spell of this moment."""
        return next((spell for start, end, spell in self.spells if start <= moment < end), None)


def drawn(seed: int) -> Weather:
    """The weather of a seed."""
    dice = random.Random(seed)
    spells, at = [], dice.uniform(0, 5)
    for _ in range(dice.randint(0, 4)):
        lasts = dice.choice((0.2, 2.0, 10.0, 60.0)) * dice.uniform(0.5, 1.5)
        spells.append((at, at + lasts, dice.choice(list(Spell))))
        at += lasts + dice.uniform(0, 20)
    return Weather(
        slots=dice.choice((2, 8, 24)),
        queues=dice.random() < 0.5,
        latency_s=dice.choice((0.02, 0.2, 1.0)),
        sigma=dice.choice((0.0, 0.5)),
        faulty=dice.choice((0.0, 0.05, 0.2)),
        spells=tuple(spells),
    )


class StormyBackend:
    """Implements `backends.base.PromptBackend` under a weather."""

    def __init__(self, weather: Weather, seed: int, *, name: str = "stormy") -> None:
        self._name = name
        self.weather = weather
        self.asked: Counter[bytes] = Counter()  # by body
        self.answered: Counter[bytes] = Counter()
        self.beats: list[float] = []  # when answers left
        self.twins: Counter[bytes] = Counter()  # the most at once of one body
        self._away: Counter[bytes] = Counter()
        self._dice = random.Random(seed + 1)
        self._running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def name(self) -> str:
        """A name for attempts."""
        return self._name

    def encoder(self, spec: JobSpec) -> Callable[[Prompt], bytes]:
        """The prompt itself."""
        return lambda prompt: str(prompt).encode()

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """What the weather has for this request."""
        body = request.body
        self._away[body] += 1
        self.twins[body] = max(self.twins[body], self._away[body])
        try:
            return await self._answer(request, deadline)
        finally:
            self._away[body] -= 1

    async def _answer(self, request: Request, deadline: float) -> Reply | Fault:
        loop = asyncio.get_running_loop()
        self.asked[request.body] += 1
        spell = self.weather.now(loop.time())
        if spell in SPELLS:
            await asyncio.sleep(_TURN_S)
            return SPELLS[spell]
        if request.body.startswith(b"bad"):
            await asyncio.sleep(_TURN_S)
            return BAD
        try:
            async with asyncio.timeout_at(deadline):
                return await self._served(request, spell)
        except TimeoutError:
            return TIMEOUT

    async def _served(self, request: Request, spell: Spell | None) -> Reply | Fault:
        loop = asyncio.get_running_loop()
        if spell is Spell.HANGS:
            await asyncio.Event().wait()
        if self._running < self.weather.slots:
            self._running += 1
        elif self.weather.queues:
            await self._in_turn(loop)
        else:
            await asyncio.sleep(_TURN_S)
            return FULL
        try:
            sigma = self.weather.sigma
            took = self.weather.latency_s * self._dice.lognormvariate(-sigma * sigma / 2, sigma)
            await asyncio.sleep(took * (5 if spell is Spell.SLOW else 1))
        finally:
            self._pass_on()
        if self._dice.random() < self.weather.faulty:
            return self._dice.choice(SOMETIMES)
        self.answered[request.body] += 1
        self.beats.append(loop.time())
        return Reply(
            text=f"answer to {request.body.decode()}",
            finish_reason="stop",
            usage=Usage(input_tokens=10, output_tokens=5),
        )

    async def _in_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for a place; it is handed over, so nobody can take it in between."""
        turn = loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the place to the first in the queue that still wants it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    async def aclose(self) -> None:
        """Nothing to close."""
