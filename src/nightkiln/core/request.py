"""What a row becomes for a backend."""

from typing import TypeAlias

import msgspec

Prompt: TypeAlias = str | msgspec.Raw
"""A rendered row: the text of one user message, or a JSON list of messages as it came."""


class Request(msgspec.Struct, frozen=True):
    """One row as a backend gets it: a body already in the backend's own dialect.

    The body is made once, when the row's slot comes up, and passed through
    as bytes: nothing on the way parses or copies it again.
    """

    row: int
    body: bytes
