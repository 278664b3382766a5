"""Whether a backend is worth asking at all.

Problem: when a backend is down, asking it with every row burns attempts, money
and its own recovery. When our account is at fault (no money, a revoked
credential, a model that is not there) asking is hopeless until a person acts.
But nobody tells us when it is over, so somebody has to go and look.

The way chosen: closed, everything goes. After ten faults in a row without an
answer, or three without a connection, it opens: nothing goes but single probes
at growing, jittered intervals. A fault of the account parks it at once, with
longer intervals. Any sign of life closes it again; a parked one needs a good
answer to a probe, because requests sent before the money ran out still come
back well.

What must hold: a probe whose outcome never comes (its caller was cancelled)
must not close the door forever, so a granted probe is only waited for
`PATIENCE_S`. Late faults of requests sent before the opening do not move the
next probe away. Time never needs to be watched: `next_at` says when to come.
"""

from typing import Final

from nightkiln.core.fault import PARKING, Fault, FaultClass

FAULTS_TO_OPEN: Final = 10
UNREACHABLE_TO_OPEN: Final = 3
FIRST_PROBE_S: Final = 1.0
LAST_PROBE_S: Final = 30.0
FIRST_PARKED_PROBE_S: Final = 15.0
LAST_PARKED_PROBE_S: Final = 300.0
PATIENCE_S: Final = 60.0  # how long a probe's outcome is waited for before the next may go

_TROUBLE: Final = frozenset({FaultClass.TRANSIENT, FaultClass.AMBIGUOUS, FaultClass.PROTOCOL})
_HEARD: Final = frozenset({FaultClass.PERMANENT, FaultClass.CONTENT, FaultClass.INCOMPLETE})
_REFUSED: Final = frozenset({FaultClass.THROTTLE, FaultClass.OVERLOAD})
_PARKED: Final = {
    FaultClass.AUTH: "the credential is refused",
    FaultClass.QUOTA: "no quota is left",
    FaultClass.ROUTE: "the model is not served",
}


class Breaker:
    """One backend's door: closed (all goes), open (only probes), parked (open for a cause)."""

    __slots__ = (
        "_fault",
        "_faults",
        "_interval",
        "_next_at",
        "_parked",
        "_probing",
        "_unreachable",
    )

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._parked = False
        self._probing = False
        self._faults = 0  # in a row, without an answer
        self._unreachable = 0  # of these the latest, without a connection
        self._interval = 0.0
        self._next_at = 0.0

    @property
    def is_open(self) -> bool:
        """True while only probes may go."""
        return self._fault is not None

    @property
    def is_parked(self) -> bool:
        """True while a person has to act: money, credential or model."""
        return self._parked

    @property
    def fault(self) -> Fault | None:
        """The fault that keeps it open."""
        return self._fault

    @property
    def reason(self) -> str:
        """Why nothing goes, in one line; empty while closed."""
        if self._fault is None:
            return ""
        said = f": {self._fault.message}" if self._fault.message else ""
        return f"{_PARKED.get(self._fault.kind, self._fault.kind)} ({self._fault.code}){said}"

    @property
    def counts_against_row(self) -> bool:
        """False while open: a probe that fails is the backend's fault, not its row's."""
        return self._fault is None

    def allow(self, now: float) -> bool:
        """True if a request may go now; while open, a True is one probe, and must be used."""
        if self._fault is None:
            return True
        if now < self._next_at:
            return False
        self._probing = True
        self._next_at = now + PATIENCE_S
        return True

    def next_at(self) -> float | None:
        """When the next probe may go; None while closed."""
        return None if self._fault is None else self._next_at

    def on_ok(self, now: float) -> None:  # noqa: ARG002 - all that limits a backend is told so
        """A good answer came."""
        if not self._parked or self._probing:
            self._close()

    def on_fault(self, fault: Fault, now: float, roll: float) -> None:
        """A fault came; `roll` is uniform in [0, 1)."""
        if fault.kind in PARKING:
            self._park(fault, now, roll)
        elif fault.kind in _TROUBLE:
            self._trouble(fault, now, roll)
        elif fault.kind in _HEARD or (fault.kind in _REFUSED and not self._parked):
            self._heard(fault)
        elif self._fault is not None:
            self._probe_failed(now, roll)

    def _trouble(self, fault: Fault, now: float, roll: float) -> None:
        if self._fault is not None:
            if not self._parked:
                self._fault = fault
            self._probe_failed(now, roll)
            return
        self._faults += 1
        self._unreachable = self._unreachable + 1 if fault.unreachable else 0
        if self._faults >= FAULTS_TO_OPEN or self._unreachable >= UNREACHABLE_TO_OPEN:
            self._fault = fault
            self._interval = FIRST_PROBE_S
            self._next_at = now + _jittered(FIRST_PROBE_S, roll)

    def _park(self, fault: Fault, now: float, roll: float) -> None:
        if not self._parked:
            self._parked, self._probing = True, False
            self._interval = FIRST_PARKED_PROBE_S
            self._next_at = now + _jittered(FIRST_PARKED_PROBE_S, roll)
        else:
            self._probe_failed(now, roll)
        self._fault = fault

    def _heard(self, fault: Fault) -> None:
        """The backend is alive: it judged a row, or said that it is full."""
        if self._fault is not None:
            self.on_ok(0.0)
        elif fault.kind in _HEARD:
            self._faults = self._unreachable = 0
        else:
            self._unreachable = 0

    def _probe_failed(self, now: float, roll: float) -> None:
        if not self._probing:
            return  # sent before the opening: it says nothing new
        self._probing = False
        longest = LAST_PARKED_PROBE_S if self._parked else LAST_PROBE_S
        self._interval = min(2 * self._interval, longest)
        self._next_at = now + _jittered(self._interval, roll)

    def _close(self) -> None:
        self._fault = None
        self._parked = False
        self._probing = False
        self._faults = 0
        self._unreachable = 0


def _jittered(interval_s: float, roll: float) -> float:
    """Between half of the interval and all of it."""
    return interval_s * (0.5 + 0.5 * roll)
