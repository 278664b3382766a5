"""Concrete parts for an order: its backend, its lane, its price."""

import asyncio
import datetime as dt
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from nightkiln.app.choice import ENDPOINT_SLOTS, PILOT, Choice, choose
from nightkiln.app.fleets import label_of, targets_of
from nightkiln.app.targets import Target
from nightkiln.backends.base import PromptBackend
from nightkiln.backends.credentials import parse_credential, resolve
from nightkiln.backends.endpoints.openai import EndpointSettings
from nightkiln.backends.engines.base import Deaths, EngineSettings
from nightkiln.backends.engines.model_files import find_model
from nightkiln.backends.prices import Price
from nightkiln.backends.registry import engine, prompt_backend
from nightkiln.backends.transport.openfiles import FILES_BESIDE_SOCKETS, room_for_sockets
from nightkiln.config import Settings, crash_point
from nightkiln.core import crashpoints
from nightkiln.core.errors import UsageError
from nightkiln.core.job import Job, JobSpec
from nightkiln.core.reuse import CacheUse
from nightkiln.core.usage import Usage
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.dispatch.turns import Address, Turnstiles
from nightkiln.plan.budget import Budget, unseen_of
from nightkiln.plan.limiter import START
from nightkiln.plan.schedule import Claim
from nightkiln.service.orders import Order
from nightkiln.store.cache import CacheLimits

MAX_SLOTS = 16384


def arm_crash_point(said: str | None) -> None:
    """Let a test kill this process at a named point. Raises ConfigError."""
    if (point := crash_point(said)) is not None:
        name, nth = point
        crashpoints.arm(name, nth=nth, action=lambda: os.kill(os.getpid(), signal.SIGKILL))


def check_order(order: Order) -> None:
    """Refuse numbers that cannot be meant. Raises UsageError."""
    if order.concurrency is not None and not 1 <= order.concurrency <= MAX_SLOTS:
        raise UsageError(f"concurrency is {order.concurrency}; it goes from 1 to {MAX_SLOTS}")
    if order.timeout_s <= 0:
        raise UsageError(f"timeout is {order.timeout_s}; it has to be more than 0 seconds")
    for name, cap in (
        ("max-cost", order.caps.cost_usd),
        ("rpm", order.rpm),
        ("tpm", order.tpm),
    ):
        if cap is not None and cap <= 0:
            raise UsageError(f"{name} is {cap:g}; it has to be more than 0")
    if order.wait_s is not None and order.wait_s < 0:
        raise UsageError(f"wait is {order.wait_s}; it has to be 0 seconds or more")


def check_backend(order: Order, environ: Mapping[str, str], settings: Settings) -> None:
    """Refuse half a backend before any row is read. Raises UsageError."""
    for target in targets_of(order, settings):
        named = target.order
        if named.endpoint or named.model or named.key or named.headers:
            choose(named, environ, why=target.why)


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """A made backend with what depends on which one it is."""

    backend: PromptBackend
    order: Order  # with URL, model and sampling in place of the names of the settings
    model: str
    slots: int  # at most
    begin_with: int | None = None  # slots to adapt from; None: as many as there are
    price: Callable[[Usage], float | None]  # USD of a reply, None when unknown
    known_price: Price | None = None  # of an endpoint whose price is known
    model_file: Path | None = None  # of an engine of our own
    notices: tuple[str, ...] = ()
    why: str = ""  # this backend and no other
    deaths: Callable[[], Deaths] = Deaths  # of an engine of our own
    start: "Callable[[JobSpec], Awaitable[tuple[str, ...]]]"  # makes it ready; more notices
    cache: CacheLimits = CacheLimits()
    turns: int = 1  # of requests in flight, until a new one's turn has come and gone
    model_there: str | None = None  # what the backend calls the model; None: as the job does
    address: Address | None = None  # of an endpoint: where other jobs may go as well
    others: "tuple[Crew, ...]" = ()  # that the rows go to as well

    @property
    def names(self) -> tuple[str, ...]:
        """All backends, as screens call them."""
        return (self.backend.name, *(one.backend.name for one in self.others))

    async def aclose(self) -> None:
        """Let go of every backend."""
        for one in (self, *self.others):
            await one.backend.aclose()


async def make_crew(order: Order, environ: Mapping[str, str], settings: Settings) -> Crew:
    """The backend an order names; go on with the crew's order. A model is loaded by `start`.

    Raises UsageError, AuthError, MissingExtra, UnreachableError.
    """
    targets = targets_of(order, settings)
    order = targets[0].order
    choice = choose(order, environ, why=targets[0].why)
    if order.endpoint:
        # Not on the loop: a keyring may ask somebody to unlock it first.
        secrets = await asyncio.to_thread(_secrets, targets, environ)
        crew, *others = _with_room(
            [_endpoint(one, choice, secrets, label=label_of(one, targets)) for one in targets],
            room_for_sockets(),
        )
        crew = msgspec.structs.replace(crew, others=tuple(others))
    else:
        crew = await _engine(order, choice)
    where = f"at {_listed(crew.names)}" if order.endpoint else "on this machine"
    first = f"model {choice.model} {where}: {choice.why}"
    limits = CacheLimits(
        size_bytes=round(settings.cache_gb * 1e9), age_s=settings.cache_days * 86_400.0
    )
    notices = (first, *choice.notices, *crew.notices)
    return msgspec.structs.replace(crew, notices=notices, why=choice.why, cache=limits)


def _with_room(crews: Sequence[Crew], room: int) -> list[Crew]:
    """No more slots than there may be sockets. Raises UsageError where more were asked for."""
    asked = sum(one.slots for one in crews if one.begin_with is None)
    if asked > room:
        files = asked + FILES_BESIDE_SOCKETS
        raise UsageError(
            f"{asked:,} requests at once need {files:,} open files, and this process may have"
            f" {room + FILES_BESIDE_SOCKETS:,}",
            hint=f"say `ulimit -n {files}` first, or lower --concurrency",
        )
    free = room - asked
    finding = sum(one.begin_with is not None for one in crews)
    return [
        msgspec.structs.replace(one, slots=max(1, min(one.slots, free // finding)))
        if one.begin_with is not None
        else one
        for one in crews
    ]


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _secrets(targets: Sequence[Target], environ: Mapping[str, str]) -> dict[str, str]:
    """What the references of targets stand for. Blocking. Raises AuthError, MissingExtra."""
    said = [reference for one in targets for _, reference in one.secret_headers]
    said += [one.order.key for one in targets if one.order.key is not None]
    return {reference: resolve(parse_credential(reference), environ) for reference in said}


def _endpoint(
    target: Target, choice: Choice, secrets: Mapping[str, str], *, label: str = ""
) -> Crew:
    order, model = target.order, target.model_there or choice.model
    hidden = {name: secrets[reference] for name, reference in target.secret_headers}
    secret = None if order.key is None else secrets[order.key]
    url = order.endpoint or ""
    backend = prompt_backend(choice.kind)(
        EndpointSettings(
            url=url,
            name=f"{urlsplit(url).netloc} {label}" if label else "",
            credential=secret,
            headers={**dict(order.headers), **hidden},
            secrets=tuple(hidden.values()),
            metrics=target.metrics,
            keep_bodies=True,  # recorded only for jobs that ask for it: their form says so
        )
    )
    price = target.prices.price_of(model, url, on=dt.datetime.now(dt.UTC))
    if price is None and order.caps.cost_usd is not None:
        raise UsageError(
            f"max-cost needs a price, and none is known for {model} at {url}",
            hint=f'set input and output under [prices."{model}"] in nightkiln.toml',
        )
    return Crew(
        backend=backend,
        order=order,
        model=choice.model,
        slots=order.concurrency or ENDPOINT_SLOTS,
        begin_with=None if order.concurrency else START,
        price=_unknown if price is None else price.cost_usd,
        known_price=price,
        start=_ready,
        model_there=target.model_there,
        address=Address(
            endpoint=url,
            credential=order.key,
            headers=(
                *((name, str(hash(value))) for name, value in order.headers),
                *target.secret_headers,
            ),
            model=model,
        ),
    )


async def _engine(order: Order, choice: Choice) -> Crew:
    told: list[str] = []
    if choice.model == PILOT:
        from nightkiln import pilot

        file = pilot.path()
    else:
        file = await asyncio.to_thread(find_model, choice.model, tell=told.append)
    settings = EngineSettings(model=file, kv_cache_gb=order.kv_cache_gb, precision=order.precision)
    made = engine(choice.kind)(settings)
    slots = order.concurrency or made.slots

    async def start(spec: JobSpec) -> tuple[str, ...]:
        await made.start(spec)
        return made.notices

    return Crew(
        backend=made,
        order=order,
        model=choice.model,
        slots=slots,
        price=_free,
        model_file=file,
        notices=tuple(told),
        deaths=lambda: made.deaths,
        start=start,
        turns=-(-slots // settings.side_by_side),
    )


async def _ready(_: JobSpec) -> tuple[str, ...]:
    return ()  # an endpoint needs no start


def dice() -> Dice:
    """Real time and real chance."""
    return Dice(clock=time.time, roll=random.random)


def make_fleet(
    order: Order, crew: Crew, chance: Dice, *, job: Job, turnstiles: Turnstiles
) -> Fleet:
    """The slots to every backend, in turn with the other jobs of this process."""
    return Fleet(
        [_member(order, one, turnstiles) for one in (crew, *crew.others)],
        dice=chance,
        budget=Budget(order.caps, job.spent, unseen=unseen_of(job.totals, job.live)),
        claim=Claim(project=job.project, priority=job.spec.label.priority, until=order.caps.until),
        recalls=order.cache is not CacheUse.OFF,
    )


def _member(order: Order, crew: Crew, turnstiles: Turnstiles) -> Member:
    return Member(
        backend=crew.backend,
        settings=LaneSettings(
            slots=crew.slots,
            start=crew.begin_with,
            timeout_s=order.timeout_s * crew.turns,
            rpm=order.rpm,
            tpm=order.tpm,
            model=crew.model_there,
        ),
        price=crew.price,
        turnstile=None if crew.address is None else turnstiles.at(crew.address),
    )


def _unknown(_: Usage) -> None:
    return None


def _free(_: Usage) -> float:
    return 0.0
