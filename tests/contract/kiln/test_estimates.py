"""What an order will take is the same here and at a server, with what is said of the machine."""

import asyncio
from pathlib import Path

import pytest
from tests.scenario.place import Provider

from nightkiln.app.settings import load_settings
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.job import PromptSpec
from nightkiln.sdk.verbs import doing
from nightkiln.service.orders import Order

WAIT_S = 60.0


@pytest.fixture(params=["local", "remote"])
def known(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The flags and the environment of a command."""
    if request.param == "local":
        return {"home": str(tmp_path / "home")}, {}
    url, key = request.getfixturevalue("server_url")
    return {}, {"NIGHTKILN_URL": url, "NIGHTKILN_API_KEY": key}


def test_what_is_said_of_the_machine_is_counted_in(
    known: tuple[dict[str, str], dict[str, str]], simulator: Provider, tmp_path: Path
) -> None:
    flags, environ = known
    (tmp_path / "in.csv").write_text("text\n" + "some words\n" * 50)
    order = Order(
        input=str(tmp_path / "in.csv"),
        output=None,
        prompt=PromptSpec(columns=("text",)),
        model="m",
        endpoint=simulator.url,
    )

    async def estimate(assumed: Assumed) -> Estimate:
        async with (
            asyncio.timeout(WAIT_S),
            doing(load_settings(environ, tmp_path, flags), environ) as verbs,
        ):
            return await verbs.estimate(order, assumed)

    plain = asyncio.run(estimate(Assumed())).forecast
    said = asyncio.run(estimate(Assumed(gpu_hour_usd=36.0, tokens_per_s=100.0))).forecast
    assert (plain.cost_usd, plain.elapsed_s) == (None, None)
    assert said.elapsed_s is not None
    assert said.cost_usd is not None
    assert said.cost_usd.likely == pytest.approx(said.elapsed_s.likely * 0.01)
