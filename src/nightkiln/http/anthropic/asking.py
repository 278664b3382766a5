"""What a request of Anthropic's API says of itself, and refusals of `wire` as ends of a request.

Every request names the version of the API it was written for; nothing is read of
one that does not.
"""

from typing import Annotated, TypeVar

from fastapi import Depends, Header

from nightkiln.http.errors import Refuse
from nightkiln.http.parts import Parts
from nightkiln.http.shapes import Problem
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.rules import HEADER, Rules, Version, version_of
from nightkiln.wire.openai.refusals import Refusal as KeyRefusal

T = TypeVar("T")
_CONFLICT = 409  # clients send it again, and it never gets better


def good(read: T | Refusal | KeyRefusal) -> T:
    """What was read, if it is good. Raises Refuse."""
    if isinstance(read, Refusal | KeyRefusal):
        raise refused(read.status, read.message)
    return read


def refused(status: int, message: str) -> Refuse:
    """The end of a request, in words."""
    retry = False if status == _CONFLICT else None
    return Refuse(Problem(status=status, code="", message=message, retry=retry))


async def _version(
    # `described` says of it that it is required; here it is not, so that we say it in our words.
    said: Annotated[str | None, Header(alias=HEADER, include_in_schema=False)] = None,
) -> Version:
    return good(version_of(said))


Versioned = Annotated[Version, Depends(_version)]


def rules_of(version: Version, parts: Parts) -> Rules:
    """By what rules the params of a request are read. What a model can be told is no part of it."""
    return Rules(version=version, sampling=parts.settings.anthropic_sampling)
