"""Concrete parts for an order: its backend, its lane, its price."""

import asyncio
import datetime as dt
import os
import random
import signal
import time
from collections.abc import Callable, Mapping

import msgspec

from nightkiln.app.choice import ENDPOINT_SLOTS, PILOT, Choice, choose
from nightkiln.backends.base import PromptBackend
from nightkiln.backends.credentials import parse_credential, resolve
from nightkiln.backends.endpoints.openai import EndpointSettings
from nightkiln.backends.prices import price_of
from nightkiln.backends.registry import prompt_backend
from nightkiln.config import crash_point
from nightkiln.core import crashpoints
from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.core.usage import Usage
from nightkiln.dispatch.lane import Dice, Lane, LaneSettings
from nightkiln.service.orders import Order

MAX_SLOTS = 16384


def arm_crash_point(environ: Mapping[str, str]) -> None:
    """Let a test kill this process at a named point."""
    if (said := crash_point(environ)) is not None:
        name, nth = said
        crashpoints.arm(name, nth=nth, action=lambda: os.kill(os.getpid(), signal.SIGKILL))


def check_order(order: Order) -> None:
    """Refuse numbers that cannot be meant. Raises UsageError."""
    if order.concurrency is not None and not 1 <= order.concurrency <= MAX_SLOTS:
        raise UsageError(f"--concurrency is {order.concurrency}; it goes from 1 to {MAX_SLOTS}")
    if order.timeout_s <= 0:
        raise UsageError(f"--timeout is {order.timeout_s}; it has to be more than 0 seconds")
    if order.wait_s is not None and order.wait_s < 0:
        raise UsageError(f"--wait is {order.wait_s}; it has to be 0 seconds or more")


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """A made backend with what depends on which one it is."""

    backend: PromptBackend
    model: str
    slots: int
    price: Callable[[Usage], float | None]  # USD of a reply, None when unknown
    notices: tuple[str, ...]


async def make_crew(order: Order, environ: Mapping[str, str]) -> Crew:
    """The backend an order names, ready to answer.

    Raises UsageError, AuthError, MissingExtra, UnreachableError.
    """
    choice = choose(order, environ)
    crew = _endpoint(order, choice, environ) if order.endpoint else await _engine(order, choice)
    where = f"at {crew.backend.name}" if order.endpoint else "in this process"
    first = f"model {choice.model} {where}: {choice.why}"
    return msgspec.structs.replace(crew, notices=(first, *choice.notices, *crew.notices))


def _endpoint(order: Order, choice: Choice, environ: Mapping[str, str]) -> Crew:
    secret = None if order.key is None else resolve(parse_credential(order.key), environ)
    url = order.endpoint or ""
    backend = prompt_backend(choice.kind)(
        EndpointSettings(url=url, credential=secret, headers=dict(order.headers))
    )
    price = price_of(choice.model, url, on=dt.datetime.now(dt.UTC))
    return Crew(
        backend=backend,
        model=choice.model,
        slots=order.concurrency or ENDPOINT_SLOTS,
        price=_unknown if price is None else price.cost_usd,
        notices=(),
    )


async def _engine(order: Order, choice: Choice) -> Crew:
    from nightkiln.backends.engines.model_files import find_model
    from nightkiln.backends.engines.openvino import EngineSettings, OpenVINOEngine

    if choice.model == PILOT:
        from nightkiln import pilot

        file = pilot.path()
    else:
        file = await asyncio.to_thread(find_model, choice.model)
    engine = OpenVINOEngine(EngineSettings(model=file, kv_cache_gb=order.kv_cache_gb))
    try:
        await engine.start()
    except NightkilnError:
        await engine.aclose()  # nobody else knows of it yet
        raise
    return Crew(
        backend=engine,
        model=choice.model,
        slots=order.concurrency or engine.slots,
        price=_free,
        notices=engine.notices,
    )


def dice() -> Dice:
    """Real time and real chance."""
    return Dice(clock=time.time, roll=random.random)


def make_lane(order: Order, crew: Crew, chance: Dice) -> Lane:
    """The slots to a backend."""
    return Lane(
        crew.backend,
        settings=LaneSettings(slots=crew.slots, timeout_s=order.timeout_s),
        price=crew.price,
        dice=chance,
    )


def _unknown(_: Usage) -> None:
    return None


def _free(_: Usage) -> float:
    return 0.0
