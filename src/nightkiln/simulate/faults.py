"""Which faults the simulated provider can show, and the choice between them.

Pure: the roll is an argument. How a fault looks on the wire is `exchange`'s business.
"""

import enum
from collections.abc import Mapping


class FaultKind(enum.StrEnum):
    """A way to go wrong; the value is the name of the setting that holds its share."""

    SERVER_ERROR = "p500"  # HTTP 500
    UNAVAILABLE = "p503"  # HTTP 503 with retry-after
    THROTTLED = "p429"  # HTTP 429 with retry-after
    HANG = "ptimeout"  # held open for hang_s without a byte, then reset
    RESET = "preset"  # a TCP reset instead of an answer
    TRUNCATED = "ptruncate"  # half of the body, then the connection closes
    MALFORMED = "pmalformed"  # 200 with a body that is not JSON
    DRIP = "pdrip"  # a right answer, one byte every drip_s
    EMPTY = "pempty"  # 200 with an empty body
    HTML = "phtml"  # 200 with an HTML page, as a bad proxy gives
    NO_CHOICES = "pnochoices"  # 200 with valid JSON that holds no answer

    @property
    def outcome(self) -> str:
        """The counter that this fault adds to."""
        return OUTCOMES.get(self, f"fault_{self.value[1:]}")


OUTCOMES = {
    FaultKind.SERVER_ERROR: "http_500",
    FaultKind.UNAVAILABLE: "http_503",
    FaultKind.THROTTLED: "http_429_injected",
}


class FaultTable:
    """The shares as a running sum, so that one roll chooses."""

    __slots__ = ("_edges",)

    def __init__(self, shares: Mapping[FaultKind, float]) -> None:
        edge = 0.0
        self._edges: list[tuple[float, FaultKind]] = []
        for kind, share in shares.items():
            if share:
                edge += share
                self._edges.append((edge, kind))

    def __bool__(self) -> bool:
        return bool(self._edges)

    def choose(self, roll: float) -> FaultKind | None:
        """The fault for a roll in [0, 1), or None for a request that goes well."""
        for edge, kind in self._edges:
            if roll < edge:
                return kind
        return None
