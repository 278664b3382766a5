"""Jobs taken in by a server: checked as an embedded run checks them, then left to the roster.

No model is loaded and nothing is sent here. The job and how it is run are recorded
in one transaction, so a crash in between leaves neither half.

Whoever holds a key of scope `write` chooses among what the server's settings name;
an address, a credential or a model file of their own would let them read secrets of
this machine or reach hosts that only it can. A key of scope `admin` may name those.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from nightkiln.app import parts
from nightkiln.app.batchorder import batch_order
from nightkiln.app.choice import PILOT, is_model_file
from nightkiln.app.duties import is_capped, is_tried
from nightkiln.app.fleets import targets_of
from nightkiln.app.forecasting import estimate
from nightkiln.app.servedmodels import ServedModels
from nightkiln.app.targets import name_asked, order_under
from nightkiln.config import Settings
from nightkiln.core.access import ApiKey, KeyId, Scope
from nightkiln.core.errors import IllegalMove, ModelDenied, UsageError
from nightkiln.core.events import Opening, Planned
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.job import Job, JobSpec, JobState, SourceSpec, Wanted
from nightkiln.service import moves, planning, submit
from nightkiln.service.arriving import FromRows, arrived
from nightkiln.service.arriving import Wanted as Rows
from nightkiln.service.context import Context
from nightkiln.service.manner import model_named, remember, text_of
from nightkiln.service.orders import Order
from nightkiln.service.outward import Outward
from nightkiln.worker.forms import form_of

_OVER: Final = (Opening.FINISHED, Opening.WITH_ERRORS)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was submitted, and how that met what was there."""

    job: Job
    how: Opening
    notices: tuple[str, ...]


class Taking:
    """Takes submissions in, under settings that do not change."""

    def __init__(self, environ: Mapping[str, str], settings: Settings, outward: Outward) -> None:
        self._environ = environ
        self._outward = outward
        self._settings = settings

    async def submit(
        self, context: Context, order: Order, rows: Rows, *, by: ApiKey, key: str | None = None
    ) -> Taken:
        """Accept a job or attach to one; whoever runs jobs has to be woken afterwards.

        `by` is the API key that asks. With a `key`, a word of the caller's, the same
        submission is the same job whatever has become of it, and another one is refused.
        Raises UsageError, ModelDenied, InputError, AuthError, NotFound, IllegalMove, DiskError,
        QuotaError.
        """
        source, order = await self._arrived(context, order, rows, by=by)
        given = len(rows.rows) if isinstance(rows, FromRows) else 0  # the others have to be read
        count = given if order.limit is None else min(given, order.limit)
        try:
            return await self._accepted(context, source, order, key, rows=count)
        finally:  # where a job took it, it has moved
            await asyncio.to_thread(submit.drop_spool, source)

    async def _accepted(
        self, context: Context, source: SourceSpec, said: Order, key: str | None, *, rows: int
    ) -> Taken:
        crew = await parts.make_crew(said, self._environ, self._settings)
        try:
            order, backends = crew.order, len(crew.names)
            spec = submit.spec_of(order, source, model=crew.model)
            form_of(spec, crew.backend)
            await planning.check_head(spec, reserved=order.reserved)
        finally:
            await crew.aclose()
        given = None if key is None else f"given:{key}"
        if given is not None:
            await _check_same(context, spec, given)
        job, how = await submit.accept(
            context,
            spec,
            new=order.new and given is None,
            again=order.again and given is None,
            key=given,
            manner=text_of(said, backends=backends),
            rows=rows,
        )
        if how is not Opening.NEW and how not in _OVER and given is None:
            job = await _going_on(context, job, how, said)
            await remember(context, job.id, said, backends=backends)
        return Taken(job=job, how=how, notices=crew.notices)

    async def plan(self, context: Context, order: Order, rows: Rows, *, by: ApiKey) -> Planned:
        """What `submit` would do. Raises as it does."""
        source, order = await self._arrived(context, order, rows, by=by)
        try:
            crew = await parts.make_crew(order, self._environ, self._settings)
            try:
                spec = submit.spec_of(crew.order, source, model=crew.model)
                return await planning.plan(
                    context, crew.order, spec, crew.backend, slots=crew.slots
                )
            finally:
                await crew.aclose()
        finally:
            await asyncio.to_thread(submit.drop_spool, source)

    async def estimate(
        self, context: Context, order: Order, rows: Rows, *, by: ApiKey, assumed: Assumed
    ) -> Estimate:
        """What the rows will take; nobody is asked. Raises as `submit` does."""
        source, order = await self._arrived(context, order, rows, by=by)
        try:
            crew = await parts.make_crew(order, self._environ, self._settings)
            try:
                spec = submit.spec_of(crew.order, source, model=crew.model)
                return await estimate(context, spec, crew, assumed)
            finally:
                await crew.aclose()
        finally:
            await asyncio.to_thread(submit.drop_spool, source)

    def check_free(self, order: Order) -> None:
        """Refuse what only an admin may name. Raises UsageError."""
        places = [one for one in (order.endpoint, *order.more_endpoints) if one is not None]
        named = {
            "a credential": order.key is not None or bool(order.more_keys),
            "an address": any(one not in self._settings.endpoints for one in places),
            "a model file": order.model not in (None, PILOT, *self._settings.models)
            and is_model_file(order.model or ""),
        }
        for what in (what for what, is_named in named.items() if is_named):
            raise UsageError(
                f"only a key of scope admin may name {what}",
                hint="name an endpoint or a model of the server's settings; /api/v1/fleet has them",
            )

    def _check_served(self, order: Order) -> None:
        """Refuse a model that the settings do not list. Raises UsageError.

        An endpoint would serve more with the server's credential than it is there for.
        """
        served = (PILOT, *ServedModels(self._settings).names())
        if order.model is not None and order.model not in served:
            raise UsageError(
                f"no model {order.model} is served here",
                hint="name one of the server's settings; /api/v1/fleet has them",
            )

    def _check_allowed(self, order: Order, by: ApiKey) -> None:
        """Refuse a model that is not on the key's list. Raises ModelDenied, UsageError."""
        if by.caps.models is None:
            return
        answers = targets_of(order, self._settings)[0].order.model or PILOT
        model = name_asked(order.model, answers, self._settings)
        if not by.may_ask(model):
            raise ModelDenied(
                f"this API key may not ask the model {model}",
                hint="name one that it may ask; /v1/models has them",
            )

    async def check_goes_on(self, context: Context, job: Job, *, by: ApiKey) -> None:
        """Refuse to ask more of a job whose model is not on the key's list. Raises ModelDenied."""
        if by.caps.models is None:
            return
        said = await model_named(context, job.id)
        if not by.may_ask(name_asked(said, job.spec.model, self._settings)):
            raise ModelDenied(
                f"this API key may not ask the model of job {job.id}",
                hint="use the key that submitted it, or one that may ask its model",
            )

    async def _arrived(
        self, context: Context, order: Order, rows: Rows, *, by: ApiKey
    ) -> tuple[SourceSpec, Order]:
        free = by.may(Scope.ADMIN)
        if not free:  # what the settings add is nobody's wish but the server's
            self.check_free(order)
        order = order_under(order, self._settings)
        parts.check_order(order)
        source, order = await arrived(context, rows, order, outward=self._outward)
        try:
            source, order = batch_order(source, order, self._settings)
            if not free:
                self._check_served(order)
            self._check_allowed(order, by)
            return source, order
        except UsageError:
            await asyncio.to_thread(submit.drop_spool, source)
            raise


async def _check_same(context: Context, spec: JobSpec, key: str) -> None:
    """Refuse a key that was given with another submission."""
    found = await submit.find(context, spec, key=key)
    if found is not None and submit.identity_of(found.spec) != submit.identity_of(spec):
        raise IllegalMove(found.id, str(found.state), "another job of the same Idempotency-Key")


async def _going_on(context: Context, job: Job, how: Opening, said: Order) -> Job:
    """What a submission means for the job that it found."""
    by = KeyId(said.label.key) if said.label.key else None
    if how is Opening.CONTINUED:
        return await moves.retry(context, job.id, by=by)
    wants_all = is_tried(job) and said.try_rows is None
    rests = wants_all or is_capped(job) or job.wanted is Wanted.PAUSE
    if rests and job.state is not JobState.CANCELLING:
        return await moves.resume(context, job.id, by=by)
    return job
