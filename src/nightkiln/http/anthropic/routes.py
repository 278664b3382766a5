"""The routers of Anthropic's API, all under /v1/messages and /anthropic/v1/messages."""

from typing import Final

from fastapi import APIRouter

from nightkiln.http.anthropic import batches, tokens

ROUTERS: Final[tuple[APIRouter, ...]] = (batches.router, tokens.router)
