"""Which kinds of prompt backend there are. A kind's module is imported when it is first made."""

import importlib
from collections.abc import Callable
from typing import Final, cast

from nightkiln.backends.base import PromptBackend
from nightkiln.core.errors import UsageError

PROMPT_BACKENDS: Final = {
    "openai": "nightkiln.backends.endpoints.openai:OpenAIEndpoint",
    "openvino": "nightkiln.backends.engines.openvino:OpenVINOEngine",
}


def prompt_backend(kind: str) -> Callable[..., PromptBackend]:
    """What makes backends of this kind. Raises UsageError for a kind nobody knows."""
    place = PROMPT_BACKENDS.get(kind)
    if place is None:
        known = ", ".join(sorted(PROMPT_BACKENDS))
        raise UsageError(f"no backend kind {kind!r}", hint=f"there are: {known}")
    module, _, name = place.partition(":")
    factory = getattr(importlib.import_module(module), name)
    return cast("Callable[..., PromptBackend]", factory)  # the contract suite holds it to this
