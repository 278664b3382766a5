"""What an engine of ours is, whichever runs the model: a prompt backend with a start."""

from pathlib import Path
from typing import Protocol

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.core.job import JobSpec


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which model runs here, and within what bounds."""

    model: Path  # a GGUF file or an OpenVINO directory, see `model_files.find_model`
    name: str = ""  # for screens; the file's stem when empty
    kv_cache_gb: int = 1  # memory for what sequences remember
    side_by_side: int = 64  # sequences in one step
    precision: str = "auto"  # or f32, bf16
    queue: int = 4096  # requests that may wait for the engine


class Deaths(msgspec.Struct, frozen=True):
    """How often an engine died and was started again, and why the last time."""

    count: int = 0
    reason: str = ""


class Engine(PromptBackend, Protocol):
    """A model on this machine. Making one reads what its files say; only `start` loads it."""

    @property
    def slots(self) -> int:
        """How many requests to keep in flight, so that the engine never waits for the next."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know about the model; complete after `start`."""
        ...

    @property
    def deaths(self) -> Deaths:
        """What became of its processes so far."""
        ...

    async def start(self, spec: JobSpec | None = None) -> None:
        """Load the model, and try what this job asks of it once.

        Raises UsageError, MissingExtra, UnreachableError.
        """
        ...
