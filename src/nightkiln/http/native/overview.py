"""/api/v1/fleet and /api/v1/usage: what is configured and goes on, and what was spent."""

import datetime as dt
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from nightkiln.core.errors import UsageError
from nightkiln.http.access import Reader, Serving
from nightkiln.http.answers import json_answer
from nightkiln.http.native.described import gives
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.service.api import BackendObject, FleetObject, Usage, usage_object
from nightkiln.store import ledger
from nightkiln.store.overview import overview

router: Final = APIRouter(tags=["fleet and usage"])
_DAYS: Final = 30
_MOST_DAYS: Final = 366
Day = Annotated[dt.date | None, Query(description="a day of UTC, 2026-12-01")]


@router.get("/fleet", **gives(FleetObject))
async def get_fleet(caller: Reader, parts: Serving) -> Response:
    """Show the models that jobs of this key may name, how busy the project is, and the backends.

    What goes to a backend is one number for all projects, and never says whose it is; one
    that the settings do not name is shown only to the projects whose jobs go there.
    """
    project = caller.project
    now = await parts.store.read(lambda tx: overview(tx, project=project))
    fleet = FleetObject(
        models=tuple(filter(caller.key.may_ask, parts.models.names())),
        working=parts.roster is not None,
        jobs={state: count for state, count in now.states.items() if count},
        in_flight=now.in_flight,
        slots=now.slots,
        backends=_backends(caller, parts),
    )
    return json_answer(fleet)


def _backends(caller: Caller, parts: Parts) -> tuple[BackendObject, ...]:
    """The backends that a caller may know of."""
    found = () if parts.roster is None else parts.roster.backends()
    return tuple(
        msgspec.convert(one, BackendObject, from_attributes=True)
        for one in found
        if caller.project in one.projects or any(map(caller.key.may_ask, one.names))
    )


@router.get("/usage", **gives(Usage))
async def get_usage(
    caller: Reader, parts: Serving, first: Day = None, last: Day = None
) -> Response:
    """Show what the project spent, by day, backend and model; 30 days unless asked otherwise."""
    today = dt.datetime.fromtimestamp(parts.clock(), tz=dt.UTC).date()
    end = last or today
    begin = first or dt.date.fromordinal(max(1, min(end, today).toordinal() - _DAYS + 1))
    if begin > end or (end - begin).days >= _MOST_DAYS:
        raise UsageError(f"from {begin} to {end} are not 1 to {_MOST_DAYS} days")
    project, (one, other) = caller.project, (begin.isoformat(), end.isoformat())
    found = await parts.store.read(
        lambda tx: ledger.by_day(tx, project=project, first=one, last=other)
    )
    return json_answer(usage_object(one, other, found))
