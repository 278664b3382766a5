"""Which kinds of backend there are. A kind's module is imported when it is first made."""

import importlib
from collections.abc import Callable, Mapping
from typing import Final, cast

from nightkiln.backends.base import PromptBackend
from nightkiln.backends.engines.base import Engine, EngineSettings
from nightkiln.core.errors import UsageError

ENGINES: Final = {
    "embedding": "nightkiln.backends.engines.embedding:EmbeddingEngine",
    "openvino": "nightkiln.backends.engines.openvino:OpenVINOEngine",
}
PROMPT_BACKENDS: Final = {
    "openai": "nightkiln.backends.endpoints.openai:OpenAIEndpoint",
    **ENGINES,
}


def prompt_backend(kind: str) -> Callable[..., PromptBackend]:
    """What makes backends of this kind. Raises UsageError for a kind nobody knows."""
    return cast("Callable[..., PromptBackend]", _found(kind, PROMPT_BACKENDS))


def engine(kind: str) -> Callable[[EngineSettings], Engine]:
    """What makes engines of this kind. Raises UsageError for a kind nobody knows."""
    return cast("Callable[[EngineSettings], Engine]", _found(kind, ENGINES))


def _found(kind: str, among: Mapping[str, str]) -> object:
    """The class of a kind; the contract suites hold it to its protocol."""
    place = among.get(kind)
    if place is None:
        known = ", ".join(sorted(among))
        raise UsageError(f"no backend kind {kind!r}", hint=f"there are: {known}")
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
