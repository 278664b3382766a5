import datetime as dt
import time

import click
import pytest

from nightkiln.cli.values import CountOrAuto, Moment


def test_auto_is_as_if_nothing_had_been_said() -> None:
    assert CountOrAuto().convert("auto", None, None) is None
    assert CountOrAuto().convert("AUTO", None, None) is None


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_count_is_a_whole_number_from_one_up(text: str) -> None:
    assert CountOrAuto().convert("17", None, None) == 17
    with pytest.raises(click.BadParameter):
        CountOrAuto().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("2d", 172_800)]
)
def test_a_span_is_counted_from_now(text: str, seconds: float) -> None:
    before = time.time()
    found = Moment().convert(text, None, None)
    assert before + seconds <= found <= time.time() + seconds


def test_a_moment_without_a_zone_is_local() -> None:
    zoned = dt.datetime(2026, 11, 20, 6, 0, tzinfo=dt.UTC)
    offset = zoned.astimezone().utcoffset() or dt.timedelta()
    local = (zoned - offset).timestamp()
    assert Moment().convert("2026-11-20T06:00", None, None) == local
    assert Moment().convert("2026-11-20T06:00+00:00", None, None) == zoned.timestamp()


@pytest.mark.parametrize("text", ["", "soon", "5", "5 m", "25:00", "h"])
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no span like 90m or 2d"):
        Moment().convert(text, None, None)
