"""The server that answers: the independent yardstick where there is one, or our simulator.

The yardstick is `stub_server.py`, kept outside this repository so that the
product cannot be tuned together with what measures it. `NIGHTKILN_STUB` names
it; otherwise it is looked for at `../shared/bench/` beside the repository.
"""

import http.client
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from bench.processes import ROOT, BenchError, Child

STUB = "yardstick"
SIMULATOR = "simulator"
_READY_S = 20.0
_ADDRESS = re.compile(r"https?://127\.0\.0\.1:(\d+)")


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of `/_ctl/stats` that we use."""

    requests: int = 0
    ok: int = 0
    duplicates: int = 0
    resent_after_ok: int = 0
    inflight: int = 0
    rps_over_span: float = 0.0
    mean_inflight: float = 0.0
    max_inflight: int = 0
    server_cpu_s: float = 0.0
    by_outcome: Mapping[str, int] = msgspec.field(default_factory=dict)

    @property
    def cut_off(self) -> int:
        """Requests whose client went away before their answer."""
        return self.by_outcome.get("client_disconnect", 0)


class Server:
    """A running server; asks it for its counts over one connection."""

    def __init__(self, kind: str, port: int, *, certificate: Path | None = None) -> None:
        self.kind = kind
        self.certificate = certificate  # what a client has to trust; None: plain HTTP
        self.url = f"http://127.0.0.1:{port}/v1"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
        if certificate is not None:
            self.url = f"https://127.0.0.1:{port}/v1"
            context = ssl.create_default_context(cafile=str(certificate))
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=10.0, context=context
            )

    def stats(self) -> Stats:
        """Its counts now."""
        return msgspec.json.decode(self._ask("GET", "/_ctl/stats"), type=Stats)

    def reset(self) -> None:
        """Set its counts to zero."""
        self._ask("POST", "/_ctl/reset")

    def configure(self, **values: str | float) -> None:
        """Behave differently from now on."""
        self._ask("POST", "/_ctl/config", msgspec.json.encode(values))

    def settled(self) -> Stats:
        """Its counts once nothing is in flight any more."""
        until = time.monotonic() + 10.0
        before = self.stats()
        while time.monotonic() < until:
            time.sleep(0.1)
            now = self.stats()
            if not now.inflight and now.requests == before.requests:
                return now
            before = now
        raise BenchError("the server did not come to rest")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise BenchError(f"{path} gave {reply.status}: {body[:200]!r}")
        return body


def yardstick() -> Path | None:
    """The independent stub, if there is one."""
    named = os.environ.get("NIGHTKILN_STUB")
    if named and not Path(named).is_file():
        raise BenchError(f"NIGHTKILN_STUB names {named}, which is no file")
    path = Path(named) if named else ROOT.parent / "shared" / "bench" / "stub_server.py"
    return path if path.is_file() else None


def preferred() -> str:
    """The kind of server to measure against."""
    return STUB if yardstick() is not None else SIMULATOR


@contextmanager
def serving(
    kind: str, flags: Sequence[str], *, work: Path, tls: Path | None = None
) -> Iterator[Server]:
    """A server on a free port of the loopback for as long as the block lasts.

    `tls` is a folder with cert.pem and key.pem.
    """
    stub = yardstick() if kind == STUB else None
    command = [str(stub)] if stub is not None else ["-m", "nightkiln", "simulate"]
    log = work / "server.log"
    secure = [] if tls is None else ["--tls", str(tls)]
    child = Child([*command, "--port", "0", *secure, *flags], log=log)
    certificate = None if tls is None else tls / "cert.pem"
    try:
        yield Server(
            STUB if stub is not None else SIMULATOR, _port_of(child, log), certificate=certificate
        )
    finally:
        child.kill()


def _port_of(child: Child, log: Path) -> int:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        found = _ADDRESS.search(log.read_text())
        if found is not None:
            return int(found.group(1))
        if not child.running:
            break
        time.sleep(0.02)
    raise BenchError(f"the server did not start: {child.complaint()}")
