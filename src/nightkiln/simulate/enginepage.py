"""The page of metrics that an engine shows of itself, from the simulated provider's slots. Pure."""

from typing import Final

from nightkiln.simulate.admission import Slots
from nightkiln.simulate.answers import MODEL

KV_WHEN_FULL: Final = 0.9  # an engine that is well set up fills its slots before its memory


def engine_page(slots: Slots, *, capacity: int) -> bytes:
    """The page in vLLM's names; without a capacity the memory is never used."""
    kv_used = KV_WHEN_FULL * min(1.0, slots.inflight / capacity) if capacity else 0.0
    told = (
        ("num_requests_running", "Requests in the batch.", slots.inflight),
        ("num_requests_waiting", "Requests in the queue.", slots.queued),
        ("kv_cache_usage_perc", "Memory for sequences in use; 1 is all of it.", kv_used),
    )
    return "".join(
        f"# HELP vllm:{name} {meaning}\n# TYPE vllm:{name} gauge\n"
        f'vllm:{name}{{engine="0",model_name="{MODEL}"}} {value:.6g}\n'
        for name, meaning, value in told
    ).encode()
