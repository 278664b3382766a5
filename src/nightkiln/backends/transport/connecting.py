"""Opening a connection: every way it can fail, as a value. Nothing is sent here."""

import asyncio
import errno
import socket
import ssl
from typing import Final

from nightkiln.backends.transport.target import Target
from nightkiln.core.fault import Fault
from nightkiln.wire.trouble import Trouble, transport_fault

_OUT_OF_MEANS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}
)


async def connect(
    protocol: asyncio.Protocol, target: Target, tls: ssl.SSLContext | None, deadline: float
) -> Fault | None:
    """Connect `protocol` to the target by `deadline` (loop time), or say why not."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            await loop.create_connection(
                lambda: protocol,
                target.host,
                target.port,
                ssl=tls,
                server_hostname=target.host if tls is not None else None,
            )
    except TimeoutError:
        return transport_fault(
            Trouble.CONNECT_TIMEOUT, f"no connection to {_shown(target)}", sent=False
        )
    except OSError as problem:
        return transport_fault(_trouble(problem), f"{_shown(target)}: {problem}", sent=False)
    return None


def _trouble(problem: OSError) -> Trouble:
    if isinstance(problem, ssl.SSLError):
        return Trouble.TLS
    if isinstance(problem, socket.gaierror):
        return Trouble.DNS
    if isinstance(problem, ConnectionRefusedError):
        return Trouble.REFUSED
    if isinstance(problem, ConnectionError):
        return Trouble.RESET
    return Trouble.LOCAL if problem.errno in _OUT_OF_MEANS else Trouble.UNREACHABLE


def _shown(target: Target) -> str:
    return f"{target.host}:{target.port}"
