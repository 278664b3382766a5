"""Several jobs at once in one process: a small one does not wait for a large one."""

from tests.scenario.place import until
from tests.scenario.sdk.desk import Desk

import nightkiln as nk

MANY, FEW = 4_000, 50


def test_a_prototype_ends_long_before_the_production_job_it_came_after(
    place: Desk, client: nk.Client
) -> None:
    place.provider.slow(100)
    large = client.infer(
        [f"night {row}" for row in range(MANY)], job_priority=1, concurrency=8, **place.how
    )
    until(lambda: client.job(large).progress().answered >= 20)
    small = client.infer(
        [f"trial {row}" for row in range(FEW)], job_priority=0, concurrency=8, **place.how
    )
    answers = client.await_job_results(small, timeout=60)
    assert len(answers) == FEW
    assert place.provider.stats()["max_inflight"] <= 8  # one limit, and not one for each
    before = client.job(large).progress().answered
    assert before < MANY / 4
    until(lambda: client.job(large).progress().answered > before)  # it goes on, alone again
    client.cancel_job(large)
    assert place.provider.asked_more_than_once == 0
