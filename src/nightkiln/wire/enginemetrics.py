"""What vLLM, SGLang and llama-server say of themselves at `/metrics`, as one EngineLoad. Pure.

The text is Prometheus' own: `name{label="value",...} number`, a line each. Only a
handful of names is looked for, by plain search, so a page of a megabyte costs
little. Several engines behind one page are summed, and the fullest memory counts.
SGLang tells the same number several times: once for each rank of a model that is
split (we take the first), once for each priority beside the total (we take the
total), and with data parallelism once in sum and once for each (we take each).
Whatever cannot be read is no load: nothing here raises.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from nightkiln.core.engineload import EngineLoad

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_SAMPLES: Final = 4096  # occurrences of one name that are looked at
_MOST: Final = 1e7  # requests; no engine has more
_SAMPLE: Final = re.compile(
    rb"(?:\{((?:[^\"}\r\n]|\"(?:[^\"\\\r\n]|\\.)*+\")*+)\})?[ \t]++([0-9.eE+-]{1,32})(?![^ \t\r\n])"
)
_LABEL: Final = re.compile(
    rb'(?:^|,)\s*(dp_rank|tp_rank|pp_rank|moe_ep_rank|priority)\s*=\s*"([^"]*)"'
)
_SAME_REQUESTS: Final = (b"tp_rank", b"pp_rank", b"moe_ep_rank")


class _Names(NamedTuple):
    running: bytes
    waiting: bytes
    kv_used: tuple[bytes, ...]  # the first that is there


_ENGINES: Final = (
    _Names(
        b"vllm:num_requests_running",
        b"vllm:num_requests_waiting",
        (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),  # the latter until 0.10
    ),
    _Names(b"sglang:num_running_reqs", b"sglang:num_queue_reqs", (b"sglang:token_usage",)),
    _Names(
        b"llamacpp:requests_processing",
        b"llamacpp:requests_deferred",
        (b"llamacpp:kv_cache_usage_ratio",),  # newer ones do not tell
    ),
)


def read_load(text: bytes) -> EngineLoad | None:
    """The load that a page of metrics tells of; None where it tells of none that we know."""
    if len(text) > MOST_BYTES:
        return None
    for names in _ENGINES:
        running, waiting = _values(text, names.running), _values(text, names.waiting)
        if not running or not waiting:
            continue
        told = (sum(running), sum(waiting))
        if max(told) > _MOST:
            return None
        kv_used = next((found for name in names.kv_used if (found := _values(text, name))), None)
        return EngineLoad(
            running=round(told[0]),
            waiting=round(told[1]),
            kv_used=min(1.0, max(kv_used)) if kv_used else None,
        )
    return None


def _values(text: bytes, name: bytes) -> list[float]:
    """The values of one name that count; negative ones and those that are no numbers do not."""
    alone: list[float] = []
    by_part: list[float] = []  # of data parallelism
    for labels, value in _samples(text, name):
        told = dict(_LABEL.findall(labels))
        if told.get(b"priority") or any(told.get(rank, b"0") != b"0" for rank in _SAME_REQUESTS):
            continue
        (by_part if b"dp_rank" in told else alone).append(value)
    return by_part or alone


def _samples(text: bytes, name: bytes) -> Iterator[tuple[bytes, float]]:
    at = -1
    for _ in range(MOST_SAMPLES):
        at = text.find(name, at + 1)
        if at < 0:
            return
        if at and text[at - 1 : at] != b"\n":
            continue  # inside a comment, a label or another name
        found = _SAMPLE.match(text, at + len(name))
        if found is None:
            continue
        try:
            value = float(found[2])
        except ValueError:
            continue
        if 0 <= value < float("inf"):
            yield found[1] or b"", value
