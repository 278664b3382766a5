"""/v1/messages/count_tokens: how many tokens a request would be, without asking any model."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from nightkiln.core.fault import Fault
from nightkiln.core.job import Task
from nightkiln.core.request import WireBody
from nightkiln.http.access import Reader, Serving
from nightkiln.http.answers import json_bytes
from nightkiln.http.anthropic.asking import Versioned, refused, rules_of
from nightkiln.http.anthropic.described import COUNT_BODY, TOKENS
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.service.answering import Served
from nightkiln.service.anthropicsplitting import URL, rules_for
from nightkiln.wire.anthropic.batch import tokens_object
from nightkiln.wire.anthropic.params import model_of, translate_count
from nightkiln.wire.anthropic.rules import Rules

router: Final = APIRouter(tags=["Anthropic: messages"])
_BAD: Final = 400
_MISSING: Final = 404
_NOT_HERE: Final = 501


@router.post("/messages/count_tokens", openapi_extra=COUNT_BODY, responses=TOKENS)
async def count_tokens(
    request: Request, caller: Reader, parts: Serving, version: Versioned
) -> Response:
    """Count the tokens of a request: exactly for models that run here, else estimated."""
    body = await request.body()
    served, chat = await asyncio.to_thread(_read, body, parts, caller, rules_of(version, parts))
    if isinstance(chat, Fault):
        raise refused(_BAD, chat.message)
    if served is None:
        raise refused(_MISSING, f"model: {model_of(body)[:100]} is not served here")
    if parts.counting is None:
        raise refused(_NOT_HERE, "This server counts no tokens.")
    return json_bytes(tokens_object(await parts.counting.count(caller.context, served, chat)))


def _read(
    body: bytes, parts: Parts, caller: Caller, rules: Rules
) -> tuple[Served | None, WireBody | Fault]:
    model = model_of(body)
    may_ask = bool(model) and caller.may_ask(URL, model)
    served = parts.models.served(model, Task.CHAT) if may_ask else None
    return served, translate_count(body, rules_for(rules, served))
