"""Concrete parts for an order: its backend, its lane, its price."""

import datetime as dt
import os
import random
import signal
import time
from collections.abc import Callable, Mapping

from nightkiln.backends.base import PromptBackend
from nightkiln.backends.credentials import parse_credential, resolve
from nightkiln.backends.endpoints.openai import EndpointSettings
from nightkiln.backends.prices import price_of
from nightkiln.backends.registry import prompt_backend
from nightkiln.config import crash_point
from nightkiln.core import crashpoints
from nightkiln.core.errors import UsageError
from nightkiln.core.usage import Usage
from nightkiln.dispatch.lane import Dice, Lane, LaneSettings
from nightkiln.service.orders import Order

MAX_SLOTS = 16384


def arm_crash_point(environ: Mapping[str, str]) -> None:
    """Let a test kill this process at a named point."""
    if (said := crash_point(environ)) is not None:
        name, nth = said
        crashpoints.arm(name, nth=nth, action=lambda: os.kill(os.getpid(), signal.SIGKILL))


def keep_memory_small() -> None:
    """Let Arrow give memory back: its own pool keeps the pages of every part it ever wrote."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())


def check_order(order: Order) -> None:
    """Refuse numbers that cannot be meant. Raises UsageError."""
    if not 1 <= order.concurrency <= MAX_SLOTS:
        raise UsageError(f"--concurrency is {order.concurrency}; it goes from 1 to {MAX_SLOTS}")
    if order.timeout_s <= 0:
        raise UsageError(f"--timeout is {order.timeout_s}; it has to be more than 0 seconds")
    if order.wait_s is not None and order.wait_s < 0:
        raise UsageError(f"--wait is {order.wait_s}; it has to be 0 seconds or more")


def make_backend(order: Order, environ: Mapping[str, str]) -> PromptBackend:
    """The backend an order names. Raises UsageError, AuthError."""
    secret = None if order.key is None else resolve(parse_credential(order.key), environ)
    make = prompt_backend("openai")
    return make(
        EndpointSettings(url=order.endpoint, credential=secret, headers=dict(order.headers))
    )


def dice() -> Dice:
    """Real time and real chance."""
    return Dice(clock=time.time, roll=random.random)


def make_lane(order: Order, backend: PromptBackend, chance: Dice) -> Lane:
    """The slots to a backend."""
    return Lane(
        backend,
        settings=LaneSettings(slots=order.concurrency, timeout_s=order.timeout_s),
        price=pricer(order),
        dice=chance,
    )


def pricer(order: Order) -> Callable[[Usage], float | None]:
    """What a reply costs in USD, None when the price is not known."""
    price = price_of(order.model, order.endpoint, on=dt.datetime.now(dt.UTC))
    return _unknown if price is None else price.cost_usd


def _unknown(_: Usage) -> None:
    return None
