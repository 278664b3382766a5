"""The API keys of a server, as `app.keyholder` has those of a home that nobody owns."""

from collections.abc import Iterator
from typing import Final

from nightkiln.core.errors import NotFound
from nightkiln.sdk.connection import Query, Server
from nightkiln.service.api import KeyObject, KeyWanted, Page, Rotating, SignInLink

_A_PAGE: Final = 1000  # as many as a server gives at once


class RemoteKeys:
    """The keys of all projects of a server; every call but `link` wants a key of scope admin."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def create(self, wanted: KeyWanted) -> KeyObject:
        """Make a key. Raises UsageError, AuthError, UnreachableError."""
        return self._server.ask("POST", "/keys", KeyObject, body=wanted)

    def list_keys(self) -> tuple[KeyObject, ...]:
        """Every key, newest first. Raises AuthError, UnreachableError."""
        return tuple(self._keys())

    def rotate(self, key: str, *, overlap_s: float) -> KeyObject:
        """A new key in place of one, which is good a while longer. Raises NotFound, UsageError."""
        body = Rotating(overlap_s=overlap_s)
        path, project = f"/keys/{key}/rotate", self._project_of(key)
        return self._server.ask("POST", path, KeyObject, body=body, project=project)

    def revoke(self, key: str) -> KeyObject:
        """End a key now. Raises NotFound."""
        project = self._project_of(key)
        return self._server.ask("DELETE", f"/keys/{key}", KeyObject, project=project)

    def link(self) -> str:
        """The address of a page that signs in once. Raises AuthError, UnreachableError."""
        made = self._server.ask("POST", "/keys/link", SignInLink)
        return self._server.url + made.path

    def _keys(self) -> Iterator[KeyObject]:
        """Every key, a page at a time."""
        after: str | None = None
        while True:
            query: Query = {"everyone": True, "limit": _A_PAGE, "after": after}
            page = self._server.ask("GET", "/keys", Page[KeyObject], query=query)
            yield from page.data
            if (after := page.after) is None:
                return

    def _project_of(self, key: str) -> str:
        for known in self._keys():
            if known.id == key:
                return known.project
        raise NotFound(f"no key {key}", hint="nightkiln keys list shows them")
