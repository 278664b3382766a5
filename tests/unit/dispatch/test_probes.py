"""What becomes of probes while the breaker is open, and what it says of how many may go."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.dispatch.member import Member
from nightkiln.testing.backends import ScriptedBackend, fault

from .conftest import Stage, member_of

Run = Callable[..., None]


def adapting() -> list[Member]:
    """One backend whose limit is looked for, from sixteen on."""
    member = member_of(ScriptedBackend(), slots=64)
    settings = msgspec.structs.replace(member.settings, start=16)
    return [msgspec.structs.replace(member, settings=settings)]


def test_probes_without_an_answer_leave_the_limit_where_it_is(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await stage.add(range(40))
        await stage.until(lambda: stage.lane.breaker.is_open)
        opened_at = stage.lane.gate.limiter.limit
        assert opened_at >= 8  # all that were in flight then, once
        until = asyncio.get_running_loop().time() + 600.0
        await stage.until(lambda: asyncio.get_running_loop().time() >= until)
        assert stage.lane.gate.limiter.limit == opened_at
        stage.backend.open()
        await stage.until_answered()

    on_stage(play, members=adapting)


@pytest.mark.parametrize("kind", [FaultClass.OVERLOAD, FaultClass.THROTTLE])
def test_a_probe_that_is_refused_closes_the_breaker_and_cuts_nothing(
    on_stage: Run, kind: FaultClass
) -> None:
    gone = Fault(kind=FaultClass.TRANSIENT, code="refused", sent=False, unreachable=True)

    async def play(stage: Stage) -> None:
        stage.backend.script("row 0", [gone, gone, gone, fault(kind)])
        await stage.add([0])
        await stage.until_answered()
        assert stage.lane.gate.limiter.limit == 16

    on_stage(play, members=adapting)
