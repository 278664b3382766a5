"""The life of jobs as a state machine: real store, real files, crashes wherever they may come.

A crash throws away everything in memory; a power cut also tears the tails of
journals back to what was synced. The model is what was acknowledged: answers
known to be synced. After every step the invariants of the design are checked.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from nightkiln.core.job import JobState

from .life.homestead import POINTS
from .life.world import World

THOROUGH = os.environ.get("NIGHTKILN_CRASH_ALL") == "1"
settings.register_profile(
    "ci",
    max_examples=400 if THOROUGH else 40,
    stateful_step_count=60 if THOROUGH else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not THOROUGH,
)

PICK = st.integers(0, 1 << 16)
COUNT = st.integers(1, 12)
SELDOM = st.integers(0, 3).map(lambda drawn: drawn == 3)


class LifeOfJobs(RuleBasedStateMachine):
    """Every rule is one thing that a user, a worker or fate may do to a job."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.accept(40)
        self.world.ingest(self.world.pick(0))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @precondition(lambda self: len(self.world.lives) < 3)
    @rule(rows=st.integers(1, 70))
    def accept(self, rows: int) -> None:
        self.world.accept(rows)

    @precondition(lambda self: self.world.lives)
    @rule(pick=PICK)
    def accept_again(self, pick: int) -> None:
        self.world.accept_again(self.world.pick(pick))

    @precondition(lambda self: self.world.any_in(JobState.VALIDATING))
    @rule(pick=PICK)
    def ingest(self, pick: int) -> None:
        self.world.ingest(self.world.pick(pick, JobState.VALIDATING))

    @precondition(lambda self: self.world.any_workable())
    @rule(pick=PICK, want=st.integers(1, 3))
    def lease(self, pick: int, want: int) -> None:
        self.world.lease(self.world.pick_workable(pick), want)

    @precondition(lambda self: self.world.any_workable())
    @rule(
        pick=PICK,
        count=COUNT,
        outcome=st.sampled_from(["ok", "ok", "ok", "final", "stumble", "unended"]),
        sync=st.booleans(),
    )
    def answer(self, pick: int, count: int, outcome: str, sync: bool) -> None:
        if not self.world.any_open():
            self.world.lease(self.world.pick_workable(pick), 3)
        if self.world.any_open():
            self.world.answer(pick, count, outcome, sync=sync)

    @precondition(lambda self: self.world.any_open())
    @rule(pick=PICK)
    def finish_chunk(self, pick: int) -> None:
        self.world.answer(pick, 1000, "final" if pick % 3 == 0 else "ok", sync=False)
        if not self.world.any_open():
            return  # it crashed
        self.world.finish_chunk(pick)

    @precondition(lambda self: self.world.any_workable())
    @rule(pick=PICK, asks=st.integers(1, 60), slots=st.sampled_from([1, 4, 16]))
    def run(self, pick: int, asks: int, slots: int) -> None:
        self.world.run(self.world.pick_workable(pick), asks=asks, slots=slots)

    @precondition(lambda self: self.world.any_workable())
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        self.world.finish(self.world.pick_workable(pick))

    @precondition(lambda self: self.world.any_unfinished())
    @rule(pick=PICK, really=SELDOM)
    def cancel(self, pick: int, really: bool) -> None:
        if really:
            self.world.cancel(self.world.pick_unfinished(pick))

    @precondition(lambda self: self.world.any_to_retry())
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        self.world.retry(self.world.pick_to_retry(pick))

    @precondition(lambda self: self.world.any_in(*JobState))
    @rule(pick=PICK, really=SELDOM)
    def delete(self, pick: int, really: bool) -> None:
        if really and len(self.world.lives) > 1:
            self.world.delete(self.world.pick(pick, *JobState))

    @rule(point=st.sampled_from(POINTS))
    def a_crash_will_come_at(self, point: str) -> None:
        self.world.arm(point)

    @rule(power=st.booleans(), keep=st.floats(0, 1))
    def crash(self, power: bool, keep: float) -> None:
        self.world.crash(power=power, keep=keep)

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


TestLifeOfJobs = LifeOfJobs.TestCase
TestLifeOfJobs.settings = settings.get_profile("ci")
