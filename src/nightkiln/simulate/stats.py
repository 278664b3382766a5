"""What the simulated provider counted, and how often it saw each prompt.

Counts only: nothing here keeps a prompt, only its 64-bit hash.
"""

import resource
import sys
import time
from collections import Counter
from typing import Final

import msgspec

from nightkiln.simulate.admission import Slots

ANSWERED: Final = 1  # the lowest bit of a prompt's record; its count stands above
ONE_MORE: Final = 2
MAXRSS_PER_MB: Final = 1024 * 1024 if sys.platform == "darwin" else 1024


class SimulatorStats(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of all counters; the field names are the keys of `/_ctl/stats`."""

    requests: int
    ok: int
    by_outcome: dict[str, int]
    unique_prompts: int
    answered_prompts: int
    duplicates: int
    resent_after_ok: int
    requests_per_prompt_max: int
    inflight: int
    queued: int
    max_inflight: int
    max_queue: int
    open_connections: int
    prompt_tokens: int
    completion_tokens: int
    span_s: float
    rps_over_span: float
    mean_inflight: float
    server_cpu_s: float
    server_maxrss_mb: float


class Tally:
    """The counters behind the stats."""

    __slots__ = (
        "_answered",
        "_completion_tokens",
        "_cpu_start_s",
        "_duplicates",
        "_first",
        "_last",
        "_most",
        "_outcomes",
        "_prompt_tokens",
        "_prompts",
        "_requests",
        "_resent_after_ok",
        "tracking",
    )

    def __init__(self) -> None:
        self.tracking = True
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._requests = 0
        self._outcomes: Counter[str] = Counter()
        # A plain dict of small numbers costs the garbage collector nothing at a million prompts.
        self._prompts: dict[int, int] = {}
        self._answered = self._duplicates = self._resent_after_ok = self._most = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._first: float | None = None
        self._last = 0.0
        self._cpu_start_s = time.process_time()

    def turned_away(self) -> None:
        """Count a request that is refused before its prompt is looked at."""
        self._requests += 1

    def arrived(self, prompt: int, now: float) -> None:
        """Count a request and what it repeats."""
        self._requests += 1
        if self._first is None:
            self._first = now
        if self.tracking:
            record = self._prompts.get(prompt, 0)
            if record:
                self._duplicates += 1
                self._resent_after_ok += record & ANSWERED
            record += ONE_MORE
            self._prompts[prompt] = record
            if record >> 1 > self._most:
                self._most = record >> 1

    def answered(self, prompt: int, *, prompt_tokens: int, completion_tokens: int) -> None:
        """Count a complete 200."""
        self._prompt_tokens += prompt_tokens
        self._completion_tokens += completion_tokens
        if self.tracking:
            record = self._prompts.get(prompt, 0)
            if not record & ANSWERED:
                self._prompts[prompt] = record | ANSWERED
                self._answered += 1

    def ended(self, outcome: str, now: float) -> None:
        """Count how a request went."""
        self._outcomes[outcome] += 1
        self._last = now

    def requests_per_prompt(self) -> dict[str, int]:
        """How many requests each prompt had, by its hash in hexadecimal."""
        return {f"{prompt:016x}": record >> 1 for prompt, record in self._prompts.items()}

    def reading(self, slots: Slots, *, open_connections: int, now: float) -> SimulatorStats:
        """All counters at this moment."""
        span_s = max(0.0, self._last - self._first) if self._first is not None else 0.0
        ok = self._outcomes["ok"]
        return SimulatorStats(
            requests=self._requests,
            ok=ok,
            by_outcome=dict(self._outcomes),
            unique_prompts=len(self._prompts),
            answered_prompts=self._answered,
            duplicates=self._duplicates,
            resent_after_ok=self._resent_after_ok,
            requests_per_prompt_max=self._most,
            inflight=slots.inflight,
            queued=slots.queued,
            max_inflight=slots.max_inflight,
            max_queue=slots.max_queue,
            open_connections=open_connections,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            span_s=span_s,
            rps_over_span=ok / span_s if span_s else 0.0,
            mean_inflight=slots.used_s(now) / span_s if span_s else 0.0,
            server_cpu_s=time.process_time() - self._cpu_start_s,
            server_maxrss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAXRSS_PER_MB,
        )
