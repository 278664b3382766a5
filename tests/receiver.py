"""A webhook's receiver on loopback: keeps what it was sent, answers as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Heard(NamedTuple):
    """A post as it came."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Receiver:
    """What came, and what is answered: `answers` one after the other, then 200."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int] = []
        self.moved_to = ""
        self.hold = threading.Event()  # while it is not set, nobody gets an answer
        self.hold.set()
        self.url = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sent = {name.lower(): value for name, value in self.headers.items()}
            receiver.heard.append(Heard(self.path, sent, body))
            receiver.hold.wait(30)
            status = receiver.answers.pop(0) if receiver.answers else 200
            try:
                self.send_response(status)
                if receiver.moved_to:
                    self.send_header("Location", receiver.moved_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                return  # the sender is gone

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        thread.join(30)
        server.server_close()
