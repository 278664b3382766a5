"""The protocols every backend fulfils. One contract suite, `tests/contract`, holds them to it."""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, runtime_checkable

from nightkiln.core.answer import Reply
from nightkiln.core.engineload import EngineLoad
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Prompt, Request

Encoder: TypeAlias = Callable[[Prompt], bytes]
"""Turns a rendered row into a request body of the backend's dialect."""


LARGER: Final = 2  # times the token budget, for an answer that did not fit its schema


class PromptBackend(Protocol):
    """Answers while you wait: an engine, an OpenAI-compatible endpoint.

    Faults are returned, never raised; a raise means the backend itself is gone.
    Many requests may be in flight at once, each in its own task. After a crash
    of the caller nothing is remembered here: a request is simply asked again.
    """

    @property
    def name(self) -> str:
        """A short name for screens, parts and the ledger; never a secret."""
        ...

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes this job's request bodies. Raises UsageError for what cannot be said."""
        ...

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The reply, or why there is none, no later than `deadline` (event loop time).

        When cancelled, the request is given up and its connection closed.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads. Safe to call twice."""
        ...


@runtime_checkable
class KnowsItsBudget(Protocol):
    """What a backend can do besides, where it knows how many tokens an answer may take.

    It also knows that the same request brings the same answer, so that only a
    larger budget is worth a second try.
    """

    def larger(self, spec: JobSpec) -> Encoder | None:
        """What makes bodies for a second try; None where no budget is larger than the first."""
        ...

    def may_mend(self, reply: Reply) -> bool:
        """True when a larger budget would have let this reply go on."""
        ...


@runtime_checkable
class TellsLoad(Protocol):
    """What a backend can do besides, where the engine behind it says how busy it is.

    Asking costs the engine next to nothing, about once a second while a job runs. No
    answer is no fault: whoever asks goes on as if the backend could not tell.
    """

    @property
    def tells_load(self) -> bool:
        """True as long as asking makes sense; once False, it stays so."""
        ...

    async def load(self, *, deadline: float) -> EngineLoad | None:
        """How busy the engine is, or None, no later than `deadline` (event loop time)."""
        ...
