"""What a benchmark found, as values: no measuring and no printing here."""

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number beside what it has to reach."""

    workload: str
    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    samples: tuple[float, ...] = ()  # where `value` is their median
    against: str = ""  # the server that answered; empty where none did
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures were measured."""

    system: str
    processor: str
    cores: int
    memory_gb: float
    python: str
    load_before: float  # the one-minute load average when the first workload began
    load_after: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One invocation of `bench/run.py`."""

    at: str  # ISO 8601, UTC
    command: str
    commit: str
    changed: bool  # the tree held changes that no commit has
    version: str
    yardstick: str
    machine: Machine
    figures: tuple[Figure, ...]
    workload_s: dict[str, float]  # how long each workload took
