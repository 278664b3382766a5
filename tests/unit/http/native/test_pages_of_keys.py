"""/api/v1/keys in pages: bounded, without a gap, and all of them for who asks page by page."""

from collections.abc import Iterator

import pytest
from tests.serving import Served, served

from nightkiln.core.ids import ProjectId
from nightkiln.sdk.connection import Server
from nightkiln.sdk.remotekeys import RemoteKeys
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish, create

MANY = 1003  # more than one page may hold


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keys") / "home") as running:
        yield running


def ids(server: Served, query: str) -> tuple[list[str], str | None]:
    said = server.get(f"/api/v1/keys?{query}")
    assert said.status == 200, said.body
    assert said.json["has_more"] is (said.json["after"] is not None)
    return [one["id"] for one in said.json["data"]], said.json["after"]


def test_keys_come_in_pages_of_the_project_or_of_all(server: Served) -> None:
    mine = [server.make_key(name=str(n)).key.id for n in range(5)]
    theirs = server.make_key(project=ProjectId("other")).key.id
    whole, end = ids(server, "limit=100")
    assert end is None
    assert whole[:5] == mine[::-1]
    seen, after = ids(server, "limit=2")
    while after is not None:
        page, after = ids(server, f"limit=2&after={after}")
        assert 1 <= len(page) <= 2
        seen += page
    assert seen == whole
    assert ids(server, "limit=1&everyone=true") == ([theirs], theirs)
    assert ids(server, f"limit=1&everyone=true&after={theirs}") == ([mine[-1]], mine[-1])
    assert server.get(f"/api/v1/keys?after={theirs}").status == 404  # another project's
    for query in ("limit=0", "limit=1001"):
        assert server.get(f"/api/v1/keys?{query}").status == 400


def test_a_client_reads_page_after_page(server: Served) -> None:
    async def make(context: Context) -> None:
        for _ in range(MANY):
            await create(context, KeyWish(project=ProjectId("many")))

    server.do(make)
    usual, after = ids(server, "everyone=true")
    assert (len(usual), after) == (100, usual[-1])
    known = RemoteKeys(Server(server.url, server.key)).list_keys()
    assert sum(key.project == "many" for key in known) == MANY
    assert len({key.id for key in known}) == len(known)
