"""Rows that wait to be asked, those with the same beginning together, each where it is cached.

Rows with the same key are a group. A backend stays with a group until it is
empty, then turns to the next. Whoever served a key last has it in its cache, so
later rows of that key lie ready for that backend:

* It takes the oldest of its own groups and of those that nobody served yet.
* When there is neither, it takes over the oldest group of somebody else, or helps
  with one that is being served. So affinity never keeps anybody idle, not for a
  moment, and a backend that is slow or gone loses its groups to who has room.
* Nothing starves. Rows that come while a group is being served join it, but a turn
  ends after as many rows as the group had at its beginning, or `_TURN`; it then goes
  behind the others. A group that has waited for `_PATIENCE` times the rows that lie
  here is anybody's.
* Some rows go before all groups: whoever is asked again, or is long at the end.

Everything is done in constant time for a row, plus a look at each backend's oldest
group when a turn ends.

Pure: rows are opaque, backends and keys are numbers.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

T = TypeVar("T", bound=Hashable)

HOMES: Final = 4096  # keys of which it is known who served them last
_TURN: Final = 64  # rows
_PATIENCE: Final = 4
_LEAST_PATIENCE: Final = 256  # rows
_NOBODY: Final = -1


class Groups(Generic[T]):
    """The rows of one job that are ready, as far as they share anything."""

    def __init__(self) -> None:
        self._first: deque[T] = deque()
        self._groups: dict[int, _Group[T]] = {}  # none of them empty
        self._queues: dict[int, _Queue[T]] = {_NOBODY: OrderedDict()}  # by backend, oldest first
        self._turns: dict[int, _Group[T]] = {}  # by backend, what it is at
        self._homes: OrderedDict[int, int] = OrderedDict()  # by key, who served it last
        self._count = 0
        self._taken = 0  # rows, ever: our clock

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """All rows; those of a group in their order."""
        yield from self._first
        for group in self._groups.values():
            yield from group.rows

    # -- rows come

    def add(self, key: int, row: T) -> None:
        """A row waits behind those with its key."""
        group = self._groups.get(key)
        if group is None:
            home = self._homes.get(key, _NOBODY)
            group = self._groups[key] = _Group(key, home, self._taken)
            self._queue(home)[key] = group
        group.rows.append(row)
        self._count += 1

    def appendleft(self, row: T) -> None:
        """A row goes before all that are here."""
        self._first.appendleft(row)
        self._count += 1

    def put_first(self, rows: Sequence[T]) -> None:
        """Some of the rows that are here go before all groups, in this order."""
        chosen = set(rows)
        for group in list(self._groups.values()):
            group.rows = deque(row for row in group.rows if row not in chosen)
            if not group.rows:
                self._end(group)
        before = [row for row in self._first if row not in chosen]
        self._first = deque([*before, *rows])

    # -- rows go

    def take(self, backend: int, *, stays: bool = True) -> T:
        """The next row for a backend, taken out. Raises IndexError when there is none.

        `stays` is False for one that only wants to see whether the backend is back.
        """
        if self._first:
            self._count -= 1
            return self._first.popleft()
        group = self._turns.get(backend)
        if group is None or group.left <= 0 or not group.rows or group.home != backend:
            group = self._turn(backend) if stays else self._any_of(self._queues)
        row = group.rows.popleft()
        group.left -= 1
        self._count -= 1
        self._taken += 1
        if not group.rows:
            self._end(group)
        return row

    def _turn(self, backend: int) -> "_Group[T]":
        """The group that a backend turns to: its own from here on, unless somebody is at it."""
        mine = self._queue(backend)
        last = self._turns.pop(backend, None)
        if last is not None and last.rows and last.home == backend:
            mine.move_to_end(last.key)
            last.since = self._taken
        fronts = [next(iter(queue.values())) for queue in (mine, self._queues[_NOBODY]) if queue]
        group = min(fronts, key=_since, default=None)
        if len(self._queues) > 2:  # somebody else has groups, or had
            group = self._of_others(backend, group)
        if group is None:
            return self._any_of(self._queues)
        self._give(group, backend)
        group.left, group.since = max(len(group.rows), _TURN), self._taken
        self._turns[backend] = group
        return group

    def _of_others(self, backend: int, mine: "_Group[T] | None") -> "_Group[T] | None":
        """Instead of what is mine, a group that has waited too long; where I have none, any."""
        late = self._taken - max(_LEAST_PATIENCE, _PATIENCE * self._count)
        found: list[_Group[T]] = []
        for owner, queue in self._queues.items():
            if owner in (backend, _NOBODY):
                continue
            at = self._turns.get(owner)
            waiting = next((group for group in queue.values() if group is not at), None)
            if waiting is not None and (mine is None or waiting.since < late):
                found.append(waiting)
            if at is not None and at.home == owner and at.since < late:
                found.append(at)  # its owner takes nothing any more
        return min(found, key=_since, default=mine)

    def _any_of(self, queues: "dict[int, _Queue[T]]") -> "_Group[T]":
        """The first group of the longest queue, whoever is at it; it stays where it is."""
        longest = max(queues.values(), key=len)
        if not longest:
            raise IndexError("no row is ready")
        return next(iter(longest.values()))

    def _give(self, group: "_Group[T]", backend: int) -> None:
        del self._queue(group.home)[group.key]
        group.home = backend
        mine = self._queue(backend)
        mine[group.key] = group
        mine.move_to_end(group.key, last=False)
        self._homes[group.key] = backend
        self._homes.move_to_end(group.key)
        if len(self._homes) > HOMES:
            self._homes.popitem(last=False)

    def _end(self, group: "_Group[T]") -> None:
        del self._groups[group.key]
        del self._queue(group.home)[group.key]
        if self._turns.get(group.home) is group:
            del self._turns[group.home]

    def _queue(self, home: int) -> "_Queue[T]":
        queue = self._queues.get(home)
        if queue is None:
            queue = self._queues[home] = OrderedDict()
        return queue


class _Group(Generic[T]):
    """Rows with one key."""

    __slots__ = ("home", "key", "left", "rows", "since")

    def __init__(self, key: int, home: int, since: int) -> None:
        self.key = key
        self.home = home  # whose queue it lies in
        self.since = since  # rows taken when it began to wait, or its turn did
        self.left = 0  # of the turn
        self.rows: deque[T] = deque()


_Queue: TypeAlias = OrderedDict[int, _Group[T]]


def _since(group: "_Group[T]") -> int:
    return group.since
