"""The one TLS context of the process. Making one costs 20 ms and most of a megabyte."""

import functools
import ssl


@functools.cache
def shared_context() -> ssl.SSLContext:
    """Verifies certificates and host names against the system's authorities; HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
