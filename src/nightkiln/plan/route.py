"""Which backend takes the next row when several could, and where a row goes that came back.

Problem: a job has a quick backend and a slow one, a cheap one and a dear one,
and one of them is down. Shares that are worked out beforehand are wrong as soon
as anything changes, and a queue per backend leaves rows behind a slow one while
others have nothing to do.

The way chosen is to pull. All rows lie in one place, and whichever backend has a
free slot takes the next: who is quicker comes more often, who is full or down
does not come at all. Throughput is thereby shared as it is, without a number
that anybody has to know. Three small rules are added, and each only ever lets
somebody else go first:

* *Price.* A backend leaves the ready rows alone while cheaper ones have free
  slots for all of them. When there are more rows than that, everybody works:
  a fleet is there to be done soon, and price decides between those that could.
* *The tail.* When no more rows will come, a slow backend leaves the last ones to
  quicker backends that would be done with all of them before its own answer.
* *Elsewhere.* A row that failed at one backend is offered to the others first,
  for a bounded time. What is the backend's own fault (no connection, no
  credential, full) sends it there at once; but a row that is refused as too much
  goes round only once before it waits, or two full backends would throw it to
  and fro.

Nothing here waits: whoever lets others go first looks again soon, so a row is
never left lying because somebody else might have taken it. Pure.
"""

from collections.abc import Iterable
from typing import Final

from nightkiln.core.fault import PARKING, Fault, FaultClass
from nightkiln.core.usage import Usage

ELSEWHERE_S: Final = 2.0  # for which a row that failed at one backend is kept for the others
LOOK_AGAIN_S: Final = 0.05  # after letting others go first
_CHEAPER: Final = 0.95  # of the price: less than that is cheaper, the rest is the same
TYPICAL: Final = Usage(input_tokens=1000, output_tokens=300)  # to compare prices by
_TOO_MUCH: Final = frozenset({FaultClass.THROTTLE, FaultClass.OVERLOAD})


def is_cheaper(price: float | None, than: float | None) -> bool:
    """True where both are known, and the first is clearly less."""
    return price is not None and than is not None and price < _CHEAPER * than


def leaves_to_cheaper(ready: int, *, free: int) -> bool:
    """True when cheaper backends have a free slot for every ready row."""
    return 0 < ready <= free


def leaves_to_quicker(ready: int, *, mine_s: float, others: Iterable[tuple[int, float]]) -> bool:
    """True when others would answer all ready rows, and one more, before this backend answers one.

    `others` are slots and seconds for an answer of each; 0 seconds are not known yet.
    """
    quicker = [(slots, took) for slots, took in others if 0 < took < mine_s]
    rate = sum(slots / took for slots, took in quicker)
    return bool(rate) and (ready + 1) / rate + max(took for _, took in quicker) < mine_s


def goes_at_once(fault: Fault, *, is_down: bool, is_untried: bool) -> bool:
    """True when a row need not wait before another backend is asked.

    `is_down`: the backend that failed takes nothing now. `is_untried`: one that
    could serve has not failed this row yet.
    """
    if fault.kind in PARKING or fault.unreachable or is_down:
        return True
    return fault.kind in _TOO_MUCH and is_untried
