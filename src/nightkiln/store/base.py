"""What the store promises, whatever database is under it.

The store is the control plane: which jobs there are, who works on which chunk
and which part files are real. Files hold everything that grows with rows; a
statement here touches jobs, chunks and sums, never rows.

A *use case* is an async function of one `Tx`. It reads and writes through the
modules of this package (`jobs`, `chunks`, `generations`, `ledger`), raises to
take everything back, and does nothing outside the database: when a neighbour
overruns its deadline the group is rolled back and the use case runs again.

What must hold after a crash at any instruction, and after a power loss:

* A `write` that returned is there. Its answer was held back until the commit
  was on stable storage (`synchronous=FULL`).
* A `write` that did not return happened whole or not at all. The caller cannot
  know which, so every write is one that may be repeated: a lease carries a
  request id, a commit is the same commit when epoch and checksum are the same.
* Use cases that shared a transaction for the price of one fsync stay
  independent: one that raises takes back its own work only.
* No statement ever waits for a row lock that the same process holds: there is
  one writer connection and it takes the write lock first (`BEGIN IMMEDIATE`).
  A transaction that reads first and upgrades later fails under contention
  without waiting, whatever timeout is set.
* A full or failing disk refuses a whole group and leaves the database as it
  was. The connection is then thrown away: a failed fsync is not asked again.
* The schema is either of one revision or of the next one.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from nightkiln.store.tx import Tx

T = TypeVar("T")


class ControlPlane(Protocol):
    """A database that use cases run against. Implemented by `database.Database`."""

    async def write(self, use_case: Callable[[Tx], Awaitable[T]], *, deadline_s: float = 30.0) -> T:
        """Run a use case and return once its effects are durable.

        Raises what the use case raised, HomeBusy when the write lock or the
        deadline could not be had, DiskError when nothing can be written.
        """
        ...

    async def read(self, query: Callable[[Tx], Awaitable[T]], *, deadline_s: float = 30.0) -> T:
        """Run a query on one consistent snapshot; it cannot write."""
        ...

    async def aclose(self) -> None:
        """Finish what was queued, then close every connection."""
        ...
