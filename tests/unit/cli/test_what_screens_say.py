"""Sentences of single commands that are easy to get wrong: of which model, of which rows."""

import pytest

from nightkiln.cli.jobs_errors import report_text
from nightkiln.cli.run import model_for_screens
from nightkiln.core.job import PromptSpec
from nightkiln.service.faultreport import FaultReport
from nightkiln.service.orders import Order


@pytest.mark.parametrize(
    ("model", "endpoint", "said"),
    [
        ("m", "http://127.0.0.1:1/v1", "m"),
        (None, None, "the pilot"),
        (None, "http://127.0.0.1:1/v1", "this model"),
    ],
    ids=["named", "none at all", "named by the lines of a batch file"],
)
def test_only_the_pilot_is_called_the_pilot(
    model: str | None, endpoint: str | None, said: str
) -> None:
    order = Order(input="x", output=None, prompt=PromptSpec(), model=model, endpoint=endpoint)
    assert model_for_screens(order) == said


def test_no_fault_of_a_class_is_not_no_fault() -> None:
    report = FaultReport(
        job="job_1",
        state="completed_with_errors",
        rows=200,
        ok=190,
        failed=10,
        faults=(),
        listed=(),
    )
    told = report_text(report, ("transient",))
    assert told == "job job_1 is completed with errors: no row has a fault of class transient"
    assert report_text(report, ()).endswith("no row has a fault")
