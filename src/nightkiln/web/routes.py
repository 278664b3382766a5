"""The routers of the pages, which stand at the root of the server. Nothing else here."""

from typing import Final

from fastapi import APIRouter

from nightkiln.web import pages, signing

ROUTERS: Final[tuple[APIRouter, ...]] = (signing.router, pages.router)
