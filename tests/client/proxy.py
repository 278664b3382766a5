"""A proxy that loses answers: the server did its work, and the client is told 500.

It also counts what came, which no client tells of its own retries.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DEADLINE_S = 60
_HOPS = ("connection", "transfer-encoding", "content-length", "keep-alive")


class Proxy:
    """What passes, and what is to be lost."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.url = ""
        self.seen: list[tuple[str, str]] = []  # method and path of each request
        self.lost = 0  # answers that are still to be lost

    def count(self, method: str, path: str) -> int:
        """How often this was asked."""
        return self.seen.count((method, path))


@contextmanager
def before(upstream: str) -> Iterator[Proxy]:
    """A proxy before a server, until the block ends."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            proxy.seen.append((self.command, self.path))
            assert proxy.upstream.hostname is not None
            to = http.client.HTTPConnection(
                proxy.upstream.hostname, proxy.upstream.port, timeout=DEADLINE_S
            )
            try:
                to.request(self.command, self.path, body, dict(self.headers.items()))
                reply = to.getresponse()
                status, said, headers = reply.status, reply.read(), reply.getheaders()
            finally:
                to.close()
            if proxy.lost and self.command == "POST":
                proxy.lost -= 1
                status, said, headers = 500, b"", []
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOPS:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _pass  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="proxy")
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join(DEADLINE_S)
