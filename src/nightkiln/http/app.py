"""The application: routers by dialect, one shape of error each, and the doorway before them."""

from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from nightkiln._version import __version__
from nightkiln.core.errors import NightkilnError
from nightkiln.http import docspage, health, metrics
from nightkiln.http.anthropic import routes as anthropic
from nightkiln.http.described import refusals
from nightkiln.http.doorway import Doorway
from nightkiln.http.errors import reply_to
from nightkiln.http.metrics import HttpMetrics
from nightkiln.http.native import routes as native
from nightkiln.http.openai import routes as openai
from nightkiln.http.parts import Parts
from nightkiln.http.shapes import Shape
from nightkiln.http.visit import visit_of
from nightkiln.wire.openai.refusals import Refused

_WRONG_METHOD: Final = 405
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_ENDS: Final = (NightkilnError, Refused, HTTPException, RequestValidationError)


def make_app(parts: Parts) -> FastAPI:
    """The application over these parts. It opens nothing and owns no task."""
    app = FastAPI(
        title="nightkiln",
        version=__version__,
        docs_url=None,  # its page loads scripts from elsewhere; ours is `docspage`
        redoc_url=None,
        openapi_url="/api/openapi.json",
        default_response_class=Response,  # what a route gives is said by the route
        redirect_slashes=False,  # a redirect would lose the body of a POST
    )
    app.state.parts = parts
    app.state.metrics = HttpMetrics()
    for kind in _ENDS:
        app.add_exception_handler(kind, _ended)
    _add_routers(app)
    app.add_middleware(Doorway, parts=parts, metrics=app.state.metrics)
    return app


def _add_routers(app: FastAPI) -> None:
    app.include_router(health.router, responses=refusals(Shape.NATIVE))
    app.include_router(metrics.router)
    app.include_router(docspage.router)
    for router in native.ROUTERS:
        app.include_router(router, prefix="/api/v1", responses=refusals(Shape.NATIVE))
    for router in anthropic.ROUTERS:  # before OpenAI's, whose paths it shares the beginning of
        for prefix in ("/v1", "/anthropic/v1"):
            app.include_router(router, prefix=prefix, responses=refusals(Shape.ANTHROPIC))
    for router in openai.ROUTERS:
        app.include_router(router, prefix="/v1", responses=refusals(Shape.OPENAI))


async def _ended(request: Request, error: Exception) -> Response:
    """Every way to end a request but a bug, in the shape of its path."""
    visit = visit_of(request)
    response = reply_to(error, visit.shape, request_id=visit.request_id)
    if response.status_code == _WRONG_METHOD:
        response.headers["allow"] = ", ".join(_methods_of(request))
    return response


def _methods_of(request: Request) -> list[str]:
    """What the path of a request takes: all its routes together, where the error names one's."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
