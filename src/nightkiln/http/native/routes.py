"""The routers of our own API, all under /api/v1. Nothing else here."""

from typing import Final

from fastapi import APIRouter

from nightkiln.http.native import events, files, jobs, keys, overview, rows, webhooks

ROUTERS: Final[tuple[APIRouter, ...]] = (
    jobs.router,
    rows.router,
    events.router,
    files.router,
    keys.router,
    overview.router,
    webhooks.router,
)
