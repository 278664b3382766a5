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
    allowed_hosts: frozenset[str] = frozenset()  # beside the names of this machine; "*": any
    completion_windows: tuple[str, ...] = ("24h",)
    anthropic_sampling: bool = False  # sampling parameters are taken in any version of its API
    secure: bool = False  # clients come over TLS, ours or a proxy's
    page_limit: int = 1000  # the most things that a list gives at once
    drain_s: float = 10.0  # that requests have to end when the server stops
