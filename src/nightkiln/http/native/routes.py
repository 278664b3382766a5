"""The routers of our own API, all under /api/v1. Nothing else here."""

from typing import Final

from fastapi import APIRouter

from nightkiln.http.native import (
    dataset,
    events,
    files,
    jobs,
    keys,
    overview,
    rows,
    scans,
    webhooks,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    jobs.router,
    rows.router,
    scans.router,
    dataset.router,
    events.router,
    files.router,
    keys.router,
    overview.router,
    webhooks.router,
)
