"""What a row becomes for a backend."""

from typing import TypeAlias

import msgspec

from nightkiln.core.job import Task


class WireBody(msgspec.Struct, frozen=True):
    """A whole request body in OpenAI's words, as somebody wrote it; it is never encoded again."""

    json: bytes

    def __bytes__(self) -> bytes:
        return self.json


Prompt: TypeAlias = str | msgspec.Raw | WireBody
"""A rendered row: the text of one user message, a JSON list of messages, or a whole body."""


class Request(msgspec.Struct, frozen=True):
    """One row as a backend gets it: a body already in the backend's own dialect.

    The body is made once, when the row's slot comes up, and passed through
    as bytes: nothing on the way parses or copies it again.
    """

    row: int
    body: bytes
    task: Task = Task.CHAT
