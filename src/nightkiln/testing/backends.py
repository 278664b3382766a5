"""A backend that answers as a test tells it to, and counts what it was asked."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Prompt, Request
from nightkiln.core.usage import Usage

Outcome: TypeAlias = Reply | Fault | Exception
"""What one ask brings; an exception is raised, as a backend that is gone would."""

LATENCY_S: Final = 0.05


class ScriptedBackend:
    """Implements `backends.base.PromptBackend`; the body of a request is its prompt.

    Each prompt has a queue of outcomes; without one (or once it is empty) the
    answer is the prompt in capitals. Requests wait at a gate while it is shut.
    Nothing here is random and no socket is opened.
    """

    def __init__(self, *, name: str = "scripted", latency_s: float = LATENCY_S) -> None:
        self.asks: Counter[int] = Counter()  # by row
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled: Counter[int] = Counter()  # by row
        self.closed = False
        self.seen: list[tuple[float, int]] = []  # loop time and row of every ask
        self.beside: dict[int, int] = {}  # by row, the most others in flight during an ask
        self.when_asked: Callable[[Request], None] = lambda _: None
        self._name = name
        self._latency_s = latency_s
        self._scripts: dict[str, deque[Outcome]] = {}
        self._gate = asyncio.Event()
        self._gate.set()
        self._rows: Counter[int] = Counter()  # in flight
        self._outage: tuple[float, Fault] | None = None

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    def script(self, prompt: str, outcomes: Iterable[Outcome]) -> None:
        """What asking this prompt brings, one outcome an ask."""
        self._scripts.setdefault(prompt, deque()).extend(outcomes)

    def fail_until(self, when: float, outcome: Fault) -> None:
        """Answer everything with one fault until this loop time; scripts are kept."""
        self._outage = (when, outcome)

    def shut(self) -> None:
        """Hold every request from now on."""
        self._gate.clear()

    def open(self) -> None:
        """Let held requests go on."""
        self._gate.set()

    def encoder(self, spec: JobSpec) -> Callable[[Prompt], bytes]:  # noqa: ARG002 - the protocol's
        """The prompt itself as bytes."""
        return encode_prompt

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The next outcome of the prompt's script; AMBIGUOUS at the deadline."""
        self._begin(request)
        try:
            async with asyncio.timeout_at(deadline):
                await self._gate.wait()
                await asyncio.sleep(self._latency_s)
        except TimeoutError:
            return Fault(kind=FaultClass.AMBIGUOUS, code="timeout", message="no answer in time")
        except asyncio.CancelledError:
            self.cancelled[request.row] += 1
            raise
        finally:
            self.in_flight -= 1
            self._rows[request.row] -= 1
        return self._outcome(request)

    def _begin(self, request: Request) -> None:
        self.asks[request.row] += 1
        self.seen.append((asyncio.get_running_loop().time(), request.row))
        self.in_flight += 1
        self._rows[request.row] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for row, count in self._rows.items():
            if count:
                self.beside[row] = max(self.beside.get(row, 0), self.in_flight - 1)
        self.when_asked(request)

    def _outcome(self, request: Request) -> Reply | Fault:
        if self._outage is not None:
            until, outage = self._outage
            if asyncio.get_running_loop().time() < until:
                return outage
        prompt = request.body.decode()
        script = self._scripts.get(prompt)
        outcome: Outcome = script.popleft() if script else answer_to(prompt)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def encode_prompt(prompt: Prompt) -> bytes:
    """A prompt as the body of a request to a scripted backend."""
    return prompt.encode() if isinstance(prompt, str) else bytes(prompt)


def answer_to(prompt: str) -> Reply:
    """What a scripted backend says where it was told nothing: the prompt in capitals."""
    return Reply(
        text=prompt.upper(),
        finish_reason="stop",
        usage=Usage(input_tokens=len(prompt), output_tokens=len(prompt)),
        model="scripted-1",
    )


def fault(kind: FaultClass, **more: object) -> Fault:
    """A fault of a class, for a script; its code is the name of the class."""
    made = {"code": str(kind), **more}
    return Fault(kind=kind, **made)  # type: ignore[arg-type]
