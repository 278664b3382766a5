"""OpenAI's own client, sync and async, as its users have it, against `nightkiln serve`."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI
from tests.client.openai.asking import Client, got
from tests.client.server import Running, running
from tests.scenario.place import simulated


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with simulated() as provider, running(tmp_path_factory.mktemp("serving"), provider) as found:
        yield found


@pytest.fixture(params=[OpenAI, AsyncOpenAI])
async def client(
    request: pytest.FixtureRequest, server: Running
) -> AsyncIterator[OpenAI | AsyncOpenAI]:
    made: Client = request.param(base_url=f"{server.url}/v1", api_key=server.key)
    yield made
    await got(made.close())
