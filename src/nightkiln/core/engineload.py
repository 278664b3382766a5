"""How busy an engine says it is, in numbers that every engine has."""

import msgspec


class EngineLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One look at an engine: everybody's requests, not only ours."""

    running: int  # requests in its batch
    waiting: int  # requests in its queue
    kv_used: float | None = None  # share of the memory for sequences; None: it does not say
