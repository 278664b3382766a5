"""What the end of an attempt means: what is recorded of it, and what becomes of its row.

Only the decisions; the lane carries them out.
"""

from collections.abc import Callable
from typing import Final

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.dispatch.openchunk import Try
from nightkiln.plan.retry import Decision, RetryPolicy

_NO_USAGE: Final = Usage()


def unanswered(try_: Try, backend: str, fault: Fault, *, sent_at: float, took_s: float) -> Attempt:
    """An attempt that brought a fault."""
    return Attempt(
        number=try_.number,
        backend=backend,
        sent_at=sent_at,
        latency_ms=round(took_s * 1000, 3),
        usage=_NO_USAGE,
        fault=fault,
    )


def decide(
    try_: Try, fault: Fault, policy: RetryPolicy, *, backends_own: bool, roll: float
) -> Decision:
    """Count a fault for its row, and say whether it is asked again.

    `backends_own`: the fault is the backend's own, and uses up none of the row's attempts.
    """
    try_.overloads += fault.kind is FaultClass.OVERLOAD
    try_.throttles += fault.kind is FaultClass.THROTTLE
    try_.counted += not backends_own and policy.is_counted(fault, overloads=try_.overloads)
    return policy.decide(
        fault,
        counted=try_.counted,
        overloads=try_.overloads,
        throttles=try_.throttles,
        roll=roll,
    )


def is_backends_own(fault: Fault, *, answered_any: bool, any_untried: Callable[[], bool]) -> bool:
    """True when the fault of a probe says nothing about its row, because the backend is down.

    Once it has answered others and only rows that have failed before are left, a
    probe that is replied to is about its row: else the last rows of a job, if they
    always fail, would keep the breaker open and themselves waiting for ever.
    """
    heard = fault.status is not None or fault.kind is FaultClass.PROTOCOL
    return not (heard and answered_any and not any_untried())
