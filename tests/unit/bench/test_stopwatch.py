"""The stopwatch of the bench stands where the product does its work."""

import pytest
from bench.stopwatch import STEPS


@pytest.mark.parametrize(("name", "owner", "attribute"), STEPS, ids=[step[0] for step in STEPS])
def test_every_step_that_is_timed_is_there(name: str, owner: object, attribute: str) -> None:
    assert callable(getattr(owner, attribute)), name
