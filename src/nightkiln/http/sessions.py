"""Who is signed in to the pages: a cookie instead of a key, for people with a browser.

A session stands for a key, so it ends with the key; it ends by itself after twelve
hours, and with the process. Only hashes are kept, and only so many. A link signs in
once, within ten minutes.
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec

SESSION_S: Final = 12 * 3600.0
LINK_S: Final = 600.0
_MOST: Final = 1000
_SECRET_BYTES: Final = 32
_LONGEST: Final = 200  # letters of a token; ours have 43


class _Kept(msgspec.Struct, frozen=True):
    key_sha256: str
    until: float  # epoch seconds


class Sessions:
    """The sessions and links of one server."""

    def __init__(self, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._entropy = entropy
        self._secret = entropy(_SECRET_BYTES)
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()
        self._links: OrderedDict[str, _Kept] = OrderedDict()

    def begin(self, key_sha256: str, *, now: float) -> str:
        """A new session for a key: the text of its cookie."""
        return self._put(self._sessions, key_sha256, now + SESSION_S)

    def find(self, token: str, *, now: float) -> str | None:
        """The hash of the key that a session stands for; None when there is no such session."""
        kept = self._sessions.get(_hash(token))
        return None if kept is None or now >= kept.until else kept.key_sha256

    def end(self, token: str) -> None:
        """Forget a session."""
        self._sessions.pop(_hash(token), None)

    def new_link(self, key_sha256: str, *, now: float) -> str:
        """The token of a link that signs in once."""
        return self._put(self._links, key_sha256, now + LINK_S)

    def take_link(self, token: str, *, now: float) -> str | None:
        """Use a link up: the hash of its key; None when it was used, is old or never was."""
        kept = self._links.pop(_hash(token), None)
        return None if kept is None or now >= kept.until else kept.key_sha256

    def new_token(self) -> str:
        """A text that nobody can guess."""
        return base64.urlsafe_b64encode(self._entropy(_SECRET_BYTES)).rstrip(b"=").decode()

    def proof(self, purpose: str, token: str) -> str:
        """What a form carries to show that a page of ours made it for the holder of a cookie."""
        said = f"{purpose}:{token}".encode()
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()

    def proves(self, said: str, purpose: str, token: str) -> bool:
        """True for the proof of just this purpose and cookie."""
        return bool(token) and hmac.compare_digest(
            said.encode(), self.proof(purpose, token).encode()
        )

    def _put(self, kept: OrderedDict[str, _Kept], key_sha256: str, until: float) -> str:
        token = self.new_token()
        kept[_hash(token)] = _Kept(key_sha256, until)
        if len(kept) > _MOST:
            kept.popitem(last=False)
        return token


def cookie_name(*, secure: bool) -> str:
    """The name of the session's cookie; over TLS one that browsers tie to this host."""
    return "__Host-nightkiln" if secure else "nightkiln"


def cookie_in(header: str, name: str) -> str:
    """The value of a cookie in a Cookie header; empty when there is none that could be ours."""
    jar = SimpleCookie()
    try:
        jar.load(header)
    except CookieError:
        return ""
    found = jar.get(name)
    return found.value if found is not None and len(found.value) <= _LONGEST else ""


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
