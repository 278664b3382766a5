"""Where a client's jobs are kept: in a home on this machine, or at a server."""

from collections.abc import Mapping

from nightkiln.app.announcing import owner_of
from nightkiln.config import Settings
from nightkiln.core.errors import AuthError
from nightkiln.sdk.base import Kiln
from nightkiln.sdk.connection import Server


def server_of(settings: Settings) -> Server | None:
    """The server that is named, or that owns the home; None for a home that nobody owns.

    Raises AuthError where one is named without a key, HomeBusy.
    """
    if settings.url is not None:
        if settings.api_key is None:
            raise AuthError(
                f"the server at {settings.url} wants a key", hint="set NIGHTKILN_API_KEY"
            )
        return Server(settings.url, settings.api_key)
    owner = owner_of(settings.home)
    return None if owner is None else Server(owner.url, owner.key)


def kiln_of(settings: Settings, environ: Mapping[str, str]) -> Kiln:
    """Whoever keeps the jobs. Raises as `server_of` does."""
    server = server_of(settings)
    if server is None:
        from nightkiln.sdk import loopthread
        from nightkiln.sdk.local import LocalKiln

        return LocalKiln(settings.home, environ, turnstiles=loopthread.current().turnstiles)
    from nightkiln.sdk.remote import RemoteKiln

    return RemoteKiln(server)
