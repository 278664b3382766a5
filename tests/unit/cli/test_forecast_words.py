"""How long something takes, in words that never say zero."""

from nightkiln.cli.forecasttext import forecast_lines
from nightkiln.core.forecast import Forecast, Interval

NONE = Interval(0.0, 0.0, 0.0)


def time_line(elapsed: Interval) -> str:
    found = Forecast(
        rows=1,
        input_tokens=NONE,
        output_tokens=NONE,
        cost_usd=None,
        elapsed_s=elapsed,
        input_basis="",
        output_basis="",
        cost_basis="",
        elapsed_basis="",
    )
    return forecast_lines(found)[-1].strip()


def test_no_time_is_zero() -> None:
    assert time_line(Interval(0.0, 0.01, 0.2)).endswith("under a second")
    assert time_line(Interval(0.0, 2.0, 60.0)).endswith("about 2.0 s, from < 1 s to 1 min 0 s")
