"""What an order leaves open, from nightkiln.toml and the environment: arguments outweigh both.

The rules are those of the command line, and the same function reads the files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.app import load_settings
from nightkiln.config import Source
from nightkiln.sdk.submission import UNSAID_S
from nightkiln.service.orders import Order

WAIT_S: Final = 600.0


def settled(order: Order, environ: Mapping[str, str], cwd: Path) -> Order:
    """The order with the settings of a folder where it says nothing itself. Raises ConfigError."""
    sampling = order.sampling
    said = {
        "endpoint": order.endpoint,
        "model": order.model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "concurrency": order.concurrency,
        "timeout": None if order.timeout_s == UNSAID_S else order.timeout_s,
        "wait": order.wait_s,
        "on_bad_row": order.on_bad_row or None,
    }
    settings = load_settings(environ, cwd, said, source=Source.ARGUMENT)
    return msgspec.structs.replace(
        order,
        endpoint=settings.endpoint,
        model=settings.model,
        sampling=msgspec.structs.replace(
            sampling, max_tokens=settings.max_tokens, temperature=settings.temperature
        ),
        concurrency=settings.concurrency,
        timeout_s=settings.timeout,
        on_bad_row=settings.on_bad_row,
        kv_cache_gb=settings.engine.kv_cache_gb,
        wait_s=WAIT_S if settings.wait is None else settings.wait,
    )
