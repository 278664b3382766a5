"""Going on with a job as it was run last: its order from the kept manner, and a crew for it.

A batch whose model nobody here serves has no manner. It needs none: each of its
lines is bad, and is never asked; so its crew refuses everything.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec

from nightkiln.app import parts
from nightkiln.app.parts import Crew
from nightkiln.backends.base import Encoder
from nightkiln.config import Settings
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Job, JobSpec, Task
from nightkiln.core.request import Prompt, Request
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes, order_again
from nightkiln.service.orders import Order
from nightkiln.worker.forms import form_of


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on with a job."""

    said: Order  # as it is to be kept
    crew: Crew


@asynccontextmanager
async def going_on(
    context: Context,
    job: Job,
    changes: Changes,
    environ: Mapping[str, str],
    settings: Settings,
    *,
    tell: Callable[[str], None],
) -> AsyncIterator[Going]:
    """The crew that goes on with a job, not started yet; closed at the end.

    Raises UsageError, AuthError, MissingExtra, UnreachableError.
    """
    said = await order_again(context, job, changes, tell=tell)
    parts.check_order(said)
    crew = await parts.make_crew(said, environ, settings)
    try:
        form_of(job.spec, crew.backend)
        yield Going(said=said, crew=crew)
    finally:
        await crew.aclose()


class Nobody:
    """Implements `backends.base.PromptBackend` for a model that nobody here serves."""

    name = "nobody"
    tasks = frozenset(Task)

    def encoder(self, spec: JobSpec) -> Encoder:  # noqa: ARG002 - the protocol's
        """The prompt itself: it goes nowhere."""
        return _as_it_is

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:  # noqa: ARG002
        """A refusal for good."""
        return Fault(kind=FaultClass.PERMANENT, code="model_not_found", sent=False)

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _as_it_is(prompt: Prompt) -> bytes:
    return prompt.encode() if isinstance(prompt, str) else bytes(prompt)


def nobodys(job: Job) -> Crew:
    """The crew of a job whose model nobody here serves."""
    order = Order(input=job.spec.source.name, output=None, prompt=job.spec.prompt, model=None)
    return Crew(
        backend=Nobody(),
        order=order,
        model="",
        slots=1,
        price=lambda _: 0.0,
        start=_ready,
    )


async def _ready(_: JobSpec) -> tuple[str, ...]:
    return ()
