"""A process that owns a home and works on all its jobs, until it is told to stop or killed.

    python -m tests.scenario.rosterprocess HOME URL

says `ready` once it works; a closed standard input ends it in an orderly way.
"""

import asyncio
import sys
from pathlib import Path

from tests.batchmaking import settings_for

from nightkiln.app.roster import RosterSettings
from nightkiln.app.serving import open_server

RUNS = 4
SLOTS = 8  # few, so that no row is under way at every kill and counts as what kills us


async def work(home: Path, url: str) -> None:
    backend = {"url": url, "models": ["m"], "concurrency": SLOTS}
    settings = settings_for(url, "m", private_webhooks=True, endpoints={"sim": backend})
    async with open_server(home, environ={}, settings=settings, how=RosterSettings(at_once=RUNS)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
