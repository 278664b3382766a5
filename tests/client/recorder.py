"""An endpoint that answers chats as it is told to, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

DEADLINE_S = 60
Say: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class Recorder:
    """What was asked, and what is said to it: a choice of a chat completion."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []  # bodies, in the order they came
        self.say: Say = lambda _: text("so it is")


def text(content: str, *, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """A choice that is words."""
    message = {"role": "assistant", "content": content, **more}
    return {"index": 0, "message": message, "finish_reason": finish}


@contextmanager
def recording() -> Iterator[Recorder]:
    """The endpoint, until the block ends."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            recorder.asked.append(body)
            said = {
                "id": "chatcmpl-1",
                "model": body["model"],
                "choices": [recorder.say(body)],
                "usage": {
                    "prompt_tokens": 20,
                    "completion_tokens": 5,
                    "prompt_tokens_details": {"cached_tokens": 8},
                },
            }
            data = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, name="recorder")
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join(DEADLINE_S)
