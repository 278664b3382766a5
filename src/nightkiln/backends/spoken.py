"""What makes a job's request bodies at any backend, whole OpenAI bodies included.

A backend that speaks as OpenAI does takes them as they are. One with a dialect
of its own gets a chat body as what it already knows: messages, and sampling as
if the job had said it. Settings differ little within a file, so the encoders made
for them are kept, up to a bound.
"""

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import msgspec

from nightkiln.backends.base import Encoder, PromptBackend
from nightkiln.core.errors import UsageError
from nightkiln.core.job import JobSpec, Sampling, Task
from nightkiln.core.request import Prompt, WireBody
from nightkiln.wire.passing import chat_of

_KEPT: Final = 64  # encoders for different samplings
_encode: Final = msgspec.json.Encoder(order="sorted").encode


@runtime_checkable
class WireSpeaker(Protocol):
    """A backend whose requests are OpenAI's own: it passes whole bodies on."""

    tasks: frozenset[Task]  # the kinds of requests it takes


def encoder_of(backend: PromptBackend, spec: JobSpec) -> Encoder:
    """What makes the job's bodies at this backend. Raises UsageError for what cannot be said."""
    if isinstance(backend, WireSpeaker) and spec.task in backend.tasks:
        return backend.encoder(spec)
    if spec.task is not Task.CHAT:
        raise UsageError(
            f"{backend.name} answers chats; this job asks for {spec.task}s",
            hint="name a server that does with --endpoint URL --model NAME",
        )
    return _Translator(backend.encoder, spec).encode


class _Translator:
    """Says whole chat bodies in a backend's own dialect; anything else it already can say."""

    def __init__(self, encoder: Callable[[JobSpec], Encoder], spec: JobSpec) -> None:
        self._encoder = encoder
        self._spec = spec
        self._plain = encoder(spec)
        self._made: dict[bytes, Encoder] = {}

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row. Raises UsageError for what the backend has no words for."""
        if not isinstance(prompt, WireBody):
            return self._plain(prompt)
        messages, sampling = chat_of(prompt)
        return self._for(sampling)(messages)

    def _for(self, sampling: Sampling) -> Encoder:
        key = _encode(sampling)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            made = self._made[key] = self._anew(sampling)
        return made

    def _anew(self, sampling: Sampling) -> Encoder:
        try:
            return self._encoder(msgspec.structs.replace(self._spec, sampling=sampling))
        except UsageError as problem:  # it speaks of flags, and there are none
            raise UsageError(problem.message.replace("--param ", "the body's ")) from problem
