"""What a look at the fleet shows: counts of each backend, by the names of the settings."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.batchmaking import settings_for
from tests.unit.dispatch.conftest import Stage, member_of, perform

from nightkiln.app.choice import ENDPOINT_SLOTS
from nightkiln.app.fleetnow import fleet_now
from nightkiln.core.backendnow import BackendNow, Door
from nightkiln.core.fault import FaultClass
from nightkiln.dispatch.member import Member
from nightkiln.dispatch.turns import Address, Turnstiles
from nightkiln.plan.limiter import START
from nightkiln.plan.schedule import Claim
from nightkiln.testing.backends import ScriptedBackend, fault

URL = "http://sim.example/v1"
SETTINGS = settings_for(URL, "m", "n", models={"short": {"endpoint": "sim", "model": "m"}})
IDLE = {"m": ("m", "short"), "n": ("n",)}


class House:
    """The turnstiles of a process, and a job at one address of them."""

    def __init__(self, url: str = URL) -> None:
        self.turnstiles = Turnstiles()
        self._address = Address(endpoint=url, credential="env:KEY", model="m")

    def members(self) -> Sequence[Member]:
        """One backend with four slots, behind its turnstile."""
        member = member_of(ScriptedBackend(latency_s=0.1), slots=4)
        turnstile = self.turnstiles.at(self._address)
        return [msgspec.structs.replace(member, turnstile=turnstile)]

    def look(self) -> dict[tuple[str, str], BackendNow]:
        """What is shown, by name and model."""
        found = fleet_now(SETTINGS, self.turnstiles, now=asyncio.get_running_loop().time())
        assert "KEY" not in repr(found)
        assert "/v1" not in repr(found)
        return {(one.name, one.model): one for one in found}


def test_what_the_settings_name_is_there_while_nothing_goes_on() -> None:
    found = fleet_now(SETTINGS, Turnstiles(), now=0.0)
    assert {one.model: one.names for one in found} == IDLE
    assert {(one.slots, one.limit, one.in_flight) for one in found} == {(ENDPOINT_SLOTS, START, 0)}


def test_an_endpoint_without_models_is_shown_by_itself() -> None:
    settings = settings_for(URL, endpoints={"bare": {"url": URL}})
    (found,) = fleet_now(settings, Turnstiles(), now=0.0)
    assert (found.name, found.model, found.names) == ("bare", "", ("bare",))


def test_what_is_in_flight_is_counted_and_forgotten(tmp_path: Path) -> None:
    house = House()

    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await stage.add(range(10))
        await stage.until(lambda: stage.backend.in_flight == 4)
        found = house.look()
        assert list(found) == [("sim", "m"), ("sim", "n")]
        here = found["sim", "m"]
        assert (here.slots, here.limit, here.in_flight) == (4, 4, 4)
        assert (here.breaker, here.waits_s) == (Door.CLOSED, 0.0)
        assert here.names == IDLE["m"]
        assert here.projects == {Claim().project}
        assert found["sim", "n"].in_flight == 0
        stage.backend.open()
        await stage.until_answered()
        await stage.fleet.stop(drain_s=1.0)
        assert house.look()["sim", "m"].projects == frozenset()

    perform(tmp_path, play, members=house.members)


def test_a_backend_that_is_down_says_when_it_is_asked_again(tmp_path: Path) -> None:
    house = House()

    async def play(stage: Stage) -> None:
        stage.backend.fail_until(1000.0, fault(FaultClass.TRANSIENT, code="refused"))
        await stage.add(range(10))
        await stage.until(lambda: stage.lane.breaker.is_open and not stage.lane.in_flight)
        here = house.look()["sim", "m"]
        assert here.breaker is Door.OPEN
        assert 0 < here.waits_s < 60
        stage.backend.fail_until(2000.0, fault(FaultClass.QUOTA))
        await stage.until(lambda: stage.lane.breaker.is_parked)
        assert house.look()["sim", "m"].breaker is Door.PARKED

    perform(tmp_path, play, members=house.members)


def test_an_address_of_nobodys_settings_has_its_host_for_a_name(tmp_path: Path) -> None:
    house = House("http://me:secret@far.example:81/v1")

    async def play(stage: Stage) -> None:
        await stage.add(range(2))
        await stage.until_answered()
        found = house.look()
        assert list(found) == [("sim", "m"), ("sim", "n"), ("far.example:81", "m")]
        assert found["far.example:81", "m"].names == ()

    perform(tmp_path, play, members=house.members)
