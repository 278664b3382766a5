"""What is said before the server is there: 503 `starting`, to everybody.

A home may take a while to open, after a crash above all. Until then whoever asks is
told so, rather than being refused a connection, which looks like a server that is
dead. No request is understood here, so there is nothing that could be given away.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final

from nightkiln.http.running import Listening, bound

_BODY: Final = b'{"status":"starting"}'
_ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
_HEAD_S: Final = 5.0


class Early:
    """A bound socket that is answered on until the server takes it over."""

    def __init__(self, listener: socket.socket, server: asyncio.Server) -> None:
        self._listener = listener
        self._server = server

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def hand_over(self) -> socket.socket:
        """The socket, which nobody answers on any more; who connects now waits for the server."""
        self._server.close()
        return self._listener


@contextlib.asynccontextmanager
async def starting(listening: Listening) -> AsyncIterator[Early]:
    """Listen, and tell everybody to come again, until the end or `hand_over`.

    Raises UsageError for an address that cannot be listened on, or a bad certificate.
    """
    tls = None
    if listening.tls_cert is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with contextlib.suppress(OSError):  # the server says what is wrong with it
            tls.load_cert_chain(listening.tls_cert, listening.tls_key)
    with bound(listening) as listener:
        server = await asyncio.start_server(_tell, sock=listener.dup(), ssl=tls)
        try:
            yield Early(listener, server)
        finally:
            server.close()


async def _tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_HEAD_S):
            await reader.readuntil(b"\r\n\r\n")  # who is cut off while he speaks hears nothing
            writer.write(_ANSWER)
            await writer.drain()
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        pass  # there is nobody to tell
    finally:
        writer.close()
