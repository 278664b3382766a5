"""Every kind of request in OpenAI's words: its path, its encoder, its parser. Pure."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec, Task
from nightkiln.core.request import Prompt
from nightkiln.wire import chat, completion, embedding, responses
from nightkiln.wire.chatreply import parse_reply

Encode: TypeAlias = Callable[[Prompt], bytes]


class Parse(Protocol):
    """Reads the body of a 200; it never raises."""

    def __call__(self, body: bytes, *, keep_body: bool = False) -> Reply | Fault:
        """The reply, or the fault it is instead."""
        ...


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of request is said and how its reply is read."""

    path: str  # below the base URL
    encoder: Callable[[JobSpec], Encode]  # raises UsageError for what cannot be said
    parse: Parse


def _schema(spec: JobSpec) -> bytes | None:
    return None if spec.output_schema is None else spec.output_schema.encode()


def _chat(spec: JobSpec) -> Encode:
    made = chat.ChatEncoder(spec.model, spec.prompt.system, spec.sampling, _schema(spec))
    return made.encode


def _response(spec: JobSpec) -> Encode:
    made = responses.ResponseEncoder(spec.model, spec.prompt.system, spec.sampling, _schema(spec))
    return made.encode


def _completion(spec: JobSpec) -> Encode:
    _plain(spec, "a completion")
    return completion.CompletionEncoder(spec.model, spec.sampling).encode


def _embedding(spec: JobSpec) -> Encode:
    _plain(spec, "an embedding")
    return embedding.EmbeddingEncoder(spec.model, spec.sampling).encode


def _plain(spec: JobSpec, what: str) -> None:
    """Refuse what only conversations have."""
    for flag, given in (("--system", spec.prompt.system), ("--schema", spec.output_schema)):
        if given is not None:
            raise UsageError(f"{flag} means nothing to {what}", hint=f"leave out {flag}")


DIALECTS: Final[Mapping[Task, Dialect]] = {
    Task.CHAT: Dialect(path=chat.PATH, encoder=_chat, parse=parse_reply),
    Task.COMPLETION: Dialect(
        path=completion.PATH, encoder=_completion, parse=completion.parse_completion
    ),
    Task.EMBEDDING: Dialect(
        path=embedding.PATH, encoder=_embedding, parse=embedding.parse_embedding
    ),
    Task.RESPONSE: Dialect(path=responses.PATH, encoder=_response, parse=responses.parse_response),
}
