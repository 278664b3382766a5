"""Which of several identical requests leave, and which wait for the answer to one of them.

The first to ask leads and leaves; whoever asks for the same while it is away
follows. An answer ends all followers. A fault is nobody's answer: one of the
followers goes next, and the others wait for that one.

One at a time would be slow where the request itself is what fails: a thousand
rows with the same bad prompt are a thousand requests, one after the other. So
each fault that is about the request (`widen`) doubles how many may be away at
once, and a thousand take ten rounds.

Pure: requests are keys, whoever asks is opaque, and nothing here sends anything.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WIDEST: Final = 1 << 20


class Joins(Generic[T]):
    """The requests that are away, and who follows them."""

    def __init__(self) -> None:
        self.waiting = 0  # followers, over all requests
        self._groups: dict[bytes, _Group[T]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def ask(self, key: bytes, one: T) -> bool:
        """True when `one` leads and leaves; False when it follows from here on.

        Every leader comes back once, with `answered` or `failed`.
        """
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = _Group()
            return True
        if group.away < group.width:
            group.away += 1
            return True
        group.followers.append(one)
        self.waiting += 1
        return False

    def answered(self, key: bytes, *, leader: bool = True) -> Sequence[T]:
        """The followers that end with this answer. `leader`: one that `ask` let leave."""
        group = self._groups.get(key)
        if group is None:
            return ()
        group.away -= leader
        ended, group.followers = group.followers, deque()
        self.waiting -= len(ended)
        if not group.away:
            del self._groups[key]
        return ended

    def failed(self, key: bytes, *, widen: bool) -> list[T]:
        """A leader came back without an answer: the followers that lead now, and leave."""
        group = self._groups[key]
        group.away -= 1
        if widen:
            group.width = min(2 * group.width, WIDEST)
        going = []
        while group.followers and group.away < group.width:
            going.append(group.followers.popleft())
            group.away += 1
        self.waiting -= len(going)
        if not group.away:
            del self._groups[key]
        return going


class _Group(Generic[T]):
    """One request: how many of it are away, may be, and who waits."""

    __slots__ = ("away", "followers", "width")

    def __init__(self) -> None:
        self.away = 1
        self.width = 1
        self.followers: deque[T] = deque()
