"""Five requests in a hundred go wrong; no row may be lost, wrong, or paid for too often."""

from pathlib import Path

from bench import inputs, jobs
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.servers import preferred, serving

ROWS = 100_000
_FAULTS = {"--p500": "0.02", "--p503": "0.01", "--preset": "0.01", "--pmalformed": "0.01"}


def measure(*, work: Path) -> list[Figure]:
    """A hundred thousand rows against a server with 5 % faults."""
    flags = [word for pair in _FAULTS.items() for word in pair]
    source = inputs.csv_table(work / "rows.csv", ROWS)
    output = work / "answers.csv"
    with serving(preferred(), [*CAPACITY, "--latency", "const:50", *flags], work=work) as server:
        jobs.finish(source, output, server=server, home=work / "home")
        stats = server.stats()
    wrong = inputs.checked(output).wrong_of(ROWS)
    kind = server.kind
    return [
        Figure(
            workload="faults",
            name="rows lost or wrong",
            value=wrong,
            unit="rows",
            at_most=0,
            against=kind,
        ),
        Figure(
            workload="faults",
            name="requests a row",
            value=stats.requests / ROWS,
            at_most=1.06,
            against=kind,
            note="2 % 500, 1 % 503, 1 % resets, 1 % malformed",
        ),
        Figure(
            workload="faults",
            name="rate",
            value=stats.rps_over_span,
            unit="rows/s",
            against=kind,
        ),
    ]
