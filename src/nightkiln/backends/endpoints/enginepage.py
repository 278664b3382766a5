"""The page where the engine behind an endpoint tells how busy it is: whom we ask, and what with.

Asked are engines of our own: at an address of this machine or network, or where the
user says `metrics = true`. A provider is never asked, whatever is said: it has no such
page for us, and a stranger's server is not ours to poke at. The page lies beside
`/v1` on the same host and port, and nowhere else, so no new party hears from us. There,
on our own network, the request bears what every other request bears (llama-server
wants its key for this page too); anywhere else it bears no key and no header of ours.

Most servers have no such page, or not until they are told to. After three plain
refusals in a row it is not asked for any more. A server that is slow, starting or
gone has refused nothing: it is asked again. No failure here is ever told.
"""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from nightkiln.backends.prices import is_local
from nightkiln.backends.transport import Pool, Target
from nightkiln.core.engineload import EngineLoad
from nightkiln.core.fault import Fault
from nightkiln.wire.enginemetrics import MOST_BYTES, read_load

REFUSALS: Final = 3
PROVIDERS: Final = (  # and all that is below them
    "ai21.com",
    "amazonaws.com",
    "anthropic.com",
    "azure.com",
    "cerebras.ai",
    "cohere.ai",
    "cohere.com",
    "deepinfra.com",
    "deepseek.com",
    "fireworks.ai",
    "googleapis.com",
    "groq.com",
    "huggingface.co",
    "mistral.ai",
    "moonshot.ai",
    "novita.ai",
    "nvidia.com",
    "openai.com",
    "openrouter.ai",
    "perplexity.ai",
    "sambanova.ai",
    "together.ai",
    "together.xyz",
    "x.ai",
)
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # it may be starting


def page_of(url: str, headers: Mapping[str, str], *, wanted: bool | None) -> Target | None:
    """The page of an endpoint's engine, with what goes with a request for it; None: not asked.

    `wanted` is what the user says; None leaves it to where the endpoint is.
    """
    parts = urlsplit(url)
    is_ours = is_local(url)
    if wanted is False or not (is_ours or wanted) or _is_provider(parts.hostname or ""):
        return None
    path = parts.path.rstrip("/").removesuffix("/v1") + "/metrics"
    page = parts._replace(path=path, query="", fragment="").geturl()
    return Target(page, headers if is_ours else {})


def _is_provider(host: str) -> bool:
    host = host.lower().rstrip(".")
    return any(host == known or host.endswith(f".{known}") for known in PROVIDERS)


class EnginePage:
    """Asks for the page, on connections of its own. Never raises for what a server does."""

    def __init__(self, target: Target, *, tls: ssl.SSLContext | None) -> None:
        self.tells = True
        self._pool = Pool(target, tls=tls, body_limit=MOST_BYTES)
        self._head = target.head_to(target.url, method="GET")
        self._refusals = 0  # in a row

    async def load(self, *, deadline: float) -> EngineLoad | None:
        """What the page tells, or None, by `deadline` (event loop time)."""
        reply = await self._pool.get(deadline, self._head)
        if isinstance(reply, Fault) or reply.status in _PASSING:
            return None
        load = read_load(reply.body) if reply.status == 200 else None
        self._refusals = 0 if load is not None else self._refusals + 1
        self.tells = self._refusals < REFUSALS
        return load

    async def aclose(self) -> None:
        """Close its connections. Safe to call twice."""
        await self._pool.aclose()
