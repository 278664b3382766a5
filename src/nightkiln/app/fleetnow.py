"""Every endpoint of the settings, and every other one that jobs go to, as it stands now.

What goes on is read off the turnstiles, which all jobs of the process pass. Breakers
are each job's own, so a backend is as well as the job that finds it best. Models that
run in engines of ours pass no turnstile and are not here. Reads only.
"""

import math
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from nightkiln.app.choice import ENDPOINT_SLOTS
from nightkiln.config import Settings
from nightkiln.core.backendnow import BackendNow, Door
from nightkiln.dispatch.lane import Lane
from nightkiln.dispatch.turns import Address, Turnstile, Turnstiles
from nightkiln.plan.limiter import START


def fleet_now(settings: Settings, turnstiles: Turnstiles, *, now: float) -> tuple[BackendNow, ...]:
    """Those of the settings in their order, then the others. `now` is the loop's time."""
    named = list(_idle(settings))
    busy: dict[tuple[str, str], list[BackendNow]] = {}
    for address, turnstile in turnstiles.known():
        if turnstile.places:
            one = _standing(address, turnstile, settings, now)
            busy.setdefault((one.name, one.model), []).append(one)
    found = [
        msgspec.structs.replace(one, names=idle.names)
        for idle in named
        for one in busy.pop((idle.name, idle.model), [idle])
    ]
    return (*found, *(one for others in busy.values() for one in others))


def _idle(settings: Settings) -> Iterator[BackendNow]:
    """What the settings name, as if nothing went there."""
    for name, place in settings.endpoints.items():
        asked = {one: one for one in place.models}
        asked |= {
            said: alias.model or said
            for said, alias in settings.models.items()
            if name in alias.places
        }
        there: dict[str, list[str]] = {}
        for said, model in asked.items():
            there.setdefault(place.names.get(said, place.names.get(model, model)), []).append(said)
        if not there:  # it may still be asked by its own name
            there[""] = [name]
        slots, limit = place.concurrency or ENDPOINT_SLOTS, place.concurrency or START
        for model, names in there.items():
            yield BackendNow(name=name, model=model, slots=slots, limit=limit, names=tuple(names))


def _name_of(address: Address, settings: Settings) -> str:
    """What the settings call an address, the one with its credential first; else its host."""
    url = address.endpoint.rstrip("/")
    here = [(name, one) for name, one in settings.endpoints.items() if one.url.rstrip("/") == url]
    mine = [name for name, one in here if address.credential in (one.key, *one.keys)]
    host = urlsplit(address.endpoint).netloc.rpartition("@")[2]
    return next(iter([*mine, *(name for name, _ in here)]), host)


def _standing(address: Address, turnstile: Turnstile, settings: Settings, now: float) -> BackendNow:
    places, gate = turnstile.places, turnstile.gate
    lanes = [one.lane for one in places if isinstance(one.lane, Lane)]
    door = _door(lanes)
    when = max(gate.held_until, gate.pacer.ready_at(now))
    if door is not Door.CLOSED:
        probes = [at for lane in lanes if (at := lane.breaker.next_at()) is not None]
        when = max(when, min(probes))
    return BackendNow(
        name=_name_of(address, settings),
        model=address.model,
        slots=max(one.terms.slots for one in places),
        limit=gate.limiter.limit,
        in_flight=sum(one.lane.in_flight for one in places),
        breaker=door,
        waits_s=round(when - now, 3) if now < when < math.inf else 0.0,
        projects=frozenset(one.asker.claim.project for one in places),
    )


def _door(lanes: list[Lane]) -> Door:
    if not all(lane.breaker.is_open for lane in lanes) or not lanes:
        return Door.CLOSED
    return Door.PARKED if all(lane.breaker.is_parked for lane in lanes) else Door.OPEN
