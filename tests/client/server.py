"""`nightkiln serve` for tests with official clients: a process of its own, a simulated provider.

No module of nightkiln is imported here or by the tests beside it: the client may be
of another age than the server's own packages.
"""

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenario.place import DEADLINE_S, Place, Provider

_READY = re.compile(r"ready: (http://127\.0\.0\.1:\d+) ")
_CONFIGURATION = """
[endpoints.simulated]
url = "{url}"
models = ["m", "vectors"]
concurrency = 8
"""


class Running:
    """A server that takes requests and works on them."""

    def __init__(self, url: str, key: str, provider: Provider) -> None:
        self.url = url
        self.key = key  # an admin's
        self.provider = provider

    def get(self, path: str) -> str:
        """What is at a path that no client knows."""
        sent = {"authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(self.url + path, headers=sent)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return str(reply.read().decode())


@contextmanager
def running(folder: Path, provider: Provider, *, more: str = "") -> Iterator[Running]:
    """A server with a home in `folder`, until the block ends; `more` is configured as well."""
    (folder / "nightkiln.toml").write_text(_CONFIGURATION.format(url=provider.url) + more)
    with Place(folder, provider.url) as place:
        process = place.start("serve", "--port", "0")
        assert process.stdout is not None
        line = process.stdout.readline()
        found = _READY.match(line)
        assert found, f"{line!r}, and: {process.communicate(timeout=DEADLINE_S)}"
        yield Running(found[1], (place.home / "admin.key").read_text().strip(), provider)
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
        assert "bug" not in said, said
