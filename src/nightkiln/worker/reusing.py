"""What one run makes of identical requests: their keys, what is known of them, what to keep.

A key is a keyed 128-bit hash of the request's bytes and of where it is asked.
It is never shown or logged. A job whose rows may not share has no `Reuse` at
all, and pays nothing for this.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.request import Prompt
from nightkiln.core.reuse import Kept
from nightkiln.dispatch.openchunk import Encoder
from nightkiln.plan.settled import Settled

KEY_BYTES: Final = 16
Key: TypeAlias = bytes


class Answers(Protocol):
    """A cache of answers. It may forget any of them at any time and raises nothing."""

    secret: bytes  # of the keys in it

    def find(self, keys: Sequence[bytes], *, since: float = 0.0) -> dict[bytes, Kept]:
        """The answers to these requests that are here and were made after `since`."""
        ...

    def keep(self, entries: Iterable[tuple[bytes, Kept]]) -> None:
        """Take these in, soon."""
        ...


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A cache as one run sees it."""

    answers: Answers
    since: float = 0.0  # epoch seconds; older answers are not taken
    with_bodies: bool = False  # an answer without its raw reply is of no use


class Reuse:
    """Owned by a run. `keys_of` and `find` belong to the opener's thread, `keep` to the loop."""

    def __init__(
        self,
        settled: Settled,
        *,
        encode: Encoder,
        scope: bytes,
        secret: bytes,
        view: View | None = None,
    ) -> None:
        self._settled = settled
        self._encode = encode
        self._view = view
        digest = hashlib.blake2b(
            len(scope).to_bytes(8, "little") + scope, digest_size=KEY_BYTES, key=secret
        )
        self._digest: Callable[[], hashlib.blake2b] = digest.copy

    def keys_of(self, prompts: Mapping[int, Prompt]) -> dict[int, Key]:
        """The keys of the rows that may share an answer."""
        keys: dict[int, Key] = {}
        fresh, holds, encode = self._digest, self._settled.holds, self._encode
        for row, prompt in prompts.items():
            if not holds(prompt):
                continue
            try:
                body = encode(prompt)
            except UsageError:
                continue  # which is said when the row's turn comes
            digest = fresh()
            digest.update(body)
            keys[row] = digest.digest()
        return keys

    def find(self, keys: Mapping[int, Key]) -> dict[int, Kept]:
        """What is known of these rows' requests. Blocks on the disk for a moment."""
        view = self._view
        if view is None or not keys:
            return {}
        found = view.answers.find(list(set(keys.values())), since=view.since)
        if view.with_bodies:
            found = {key: kept for key, kept in found.items() if kept.body is not None}
        return {row: found[key] for row, key in keys.items() if key in found} if found else {}

    def keep(self, entries: Sequence[tuple[Key, Kept]]) -> None:
        """Keep answers that were paid for and are safe on the disk."""
        if self._view is not None and entries:
            self._view.answers.keep(entries)
