"""How a server is set up: limits, names it answers to, the windows that batches may ask for."""

from typing import Final

import msgspec

MIB: Final = 1 << 20
GIB: Final = 1 << 30


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set of a server. Every bound has a default that a small machine can hold."""

    max_body_bytes: int = 16 * MIB  # of a JSON body
    max_batch_body_bytes: int = 256 * MIB  # of a whole batch in one JSON document
    max_upload_bytes: int = 2 * GIB  # of a file, and of a part of one
    body_silence_s: float = 60.0  # without a byte of a body that is not complete
    body_least_rate: int = 1024  # bytes a second of a body, on the whole, after `body_silence_s`
    head_s: float = 15.0  # for a request's head, and between requests without a good key
    strangers: int = 1000  # connections at once that have shown no good key
    allowed_hosts: frozenset[str] = frozenset()  # beside the names of this machine; "*": any
    completion_windows: tuple[str, ...] = ("24h",)
    anthropic_sampling: bool = False  # sampling parameters are taken in any version of its API
    secure: bool = False  # clients come over TLS, ours or a proxy's
    page_limit: int = 1000  # the most things that a list gives at once
    streams: int = 500  # of events, at once
    streams_each: int = 50  # of those, for one key
    drain_s: float = 10.0  # that requests have to end when the server stops
