"""What an Anthropic client may ask of us: its API version, and what the backend can be told. Pure.

Version 2026-10-21 has no sampling parameters, and refuses documents in what the
assistant said and citations in what the user said; 2023-06-01 has them all.
"""

import enum
from typing import Final

import msgspec

from nightkiln.wire.anthropic.errors import Refusal

HEADER: Final = "anthropic-version"


class Version(enum.StrEnum):
    """A version of the API that we serve; every request names one."""

    FIRST = "2023-06-01"
    SECOND = "2026-10-21"


class Thinking(enum.StrEnum):
    """How the backend is told to think before it answers."""

    NONE = "none"  # it cannot be told; a request that insists on thinking is refused
    EFFORT = "effort"  # by `reasoning_effort`, as OpenAI, OpenRouter and others take it
    TEMPLATE = "template"  # by `chat_template_kwargs`, as vLLM, SGLang and llama.cpp take it


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """By what rules the params of a request are read and said."""

    version: Version
    sampling: bool = False  # True: sampling parameters are taken in any version
    thinking: Thinking = Thinking.NONE
    prefill: bool = False  # True: the backend goes on from a last message of the assistant

    @property
    def takes_sampling(self) -> bool:
        """Whether temperature, top_p and top_k may be given."""
        return self.sampling or self.version is Version.FIRST

    @property
    def is_strict(self) -> bool:
        """Whether the stricter rules for messages hold that came with the second version."""
        return self.version is not Version.FIRST


def version_of(header: str | None) -> Version | Refusal:
    """The version that a request's header names."""
    known = " and ".join(Version)
    if not header:
        return Refusal(status=400, message=f"{HEADER}: header is required; we serve {known}")
    try:
        return Version(header.strip())
    except ValueError:
        said = header.strip()[:40]
        return Refusal(
            status=400, message=f"{HEADER}: {said!r} is no version that we serve: {known}"
        )
