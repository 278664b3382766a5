"""The routes of OpenAI's API. Paths are without /v1."""

from typing import Final

from fastapi import APIRouter

from nightkiln.http.openai import batches, files, models, uploads

ROUTERS: Final[tuple[APIRouter, ...]] = (
    files.router,
    uploads.router,
    batches.router,
    models.router,
)
