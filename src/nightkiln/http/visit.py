"""One request as the server knows it: its id, the shape of its answers, and who asks."""

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import Scope

from nightkiln.core.access import ApiKey
from nightkiln.core.ids import ProjectId
from nightkiln.http.shapes import Shape
from nightkiln.service.context import Context


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. Everything a route does goes through `context`: nothing else is theirs to see."""

    key: ApiKey
    project: ProjectId  # the key's own, or the one that an admin named
    context: Context

    @property
    def name(self) -> str:
        """A project and a key, in one word: for what must not be done twice."""
        return f"{self.project}/{self.key.id}"

    def may_ask(self, _url: str, model: str) -> bool:
        """`service.answering.Allow`: a key's list of models holds for every route."""
        return self.key.may_ask(model)


class Visit(msgspec.Struct, kw_only=True):
    """A request under way."""

    request_id: str
    shape: Shape
    caller: Caller | None = None  # None: nobody has to be known at this path


def visit_of(connection: HTTPConnection) -> Visit:
    """The visit that a request belongs to; `doorway` put it there."""
    visit: Visit = connection.scope["nightkiln.visit"]
    return visit


def route_of(scope: Scope) -> str:
    """The template of the path that was asked for, such as /v1/files/{file_id}; "" if none fits.

    A route knows its template without the prefix it was included under. What comes
    before it in the path is that prefix, and the same for every request.
    """
    route = scope.get("route")
    template, form = getattr(route, "path", ""), getattr(route, "path_format", "")
    if not form:
        return ""
    asked = form.format(**scope.get("path_params", {}))
    path: str = scope["path"]
    return path.removesuffix(asked) + template if path.endswith(asked) else template
