"""The world around a command under test: a simulated provider, a table, and what must come out.

The provider lives in the test's own process, so its counts outlive every
command that is killed: they are the witness for what was asked how often.
"""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

from nightkiln.simulate import Simulator, prompt_hash

ROWS = 96  # six chunks of the least size
CHUNKS = 6
SLOTS = 8
COLUMNS = ["id", "text"]
SECRET = "canary-4b1f6d"  # the provider's key: may be nowhere but in a request
POLL_S = 0.01


class World:
    """A provider, a table of prompts, and a folder to work in."""

    def __init__(self, simulator: Simulator, folder: Path, *, rows: int = ROWS) -> None:
        self.simulator = simulator
        self.folder = folder
        self.table = folder / "tickets.csv"
        self.texts = [f"ticket {row} about the kiln" for row in range(rows)]
        self.hashes = [prompt_hash(f"Classify: {text}") for text in self.texts]
        self._write_table()

    def _write_table(self) -> None:
        with self.table.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(COLUMNS)
            writer.writerows((f"{row:04d}", text) for row, text in enumerate(self.texts))

    def order(self, output: Path, *, source: str | None = None, slots: int = SLOTS) -> list[str]:
        """The arguments of the one command that every scenario runs."""
        return [
            *("run", source or str(self.table), "-o", str(output)),
            *("--endpoint", self.simulator.url, "--model", "sim", "--key", "env:SIM_KEY"),
            *("--prompt", "Classify: {text}", "--concurrency", str(slots)),
            *(["--format", "csv"] if source == "-" else []),
        ]

    def asked(self) -> list[int]:
        """How many requests the provider saw for each row."""
        counts = self.simulator.prompts()
        return [counts.get(prompt, 0) for prompt in self.hashes]

    async def answered(self, rows: int) -> None:
        """Return when the provider has answered that many requests."""
        await until(lambda: self.simulator.stats().ok >= rows, f"{rows} answers")


async def until(holds: Callable[[], bool], what: str, *, seconds: float = 30.0) -> None:
    """Wait for a condition; after the deadline the test fails, naming it."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s in vain for {what}") from None
