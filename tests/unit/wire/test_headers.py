import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.wire import headers

NOW = 1_790_000_000.0


def date(moment: float) -> str:
    return email.utils.formatdate(moment, usegmt=True)


@pytest.mark.parametrize(
    ("given_headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "nan", "retry-after": "9"}, 9.0),
        ({"retry-after": date(NOW + 30)}, 30.0),
        ({"retry-after": date(NOW - 30)}, 0.0),
        ({"retry-after": date(NOW + 3630), "date": date(NOW + 3600)}, 30.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "99999999"}, headers.LONGEST_WAIT_S),
        ({"retry-after": "30,000"}, 30_000.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    given_headers: dict[str, str], wait: float | None
) -> None:
    assert headers.retry_after_s(given_headers, now=NOW) == wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("17µs", 17e-6),
        ("0s", 0.0),
        ("", None),
        ("6m0", None),
        ("m", None),
        ("-1s", None),
        ("1s!", None),
    ],
)
def test_go_durations_are_read(text: str, seconds: float | None) -> None:
    assert headers.duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("12", 12.0),
        ("2026-09-21T14:14:20Z", 60.0),
        ("2026-09-21T14:12:20Z", 0.0),
        ("never", None),
        ("-3", None),
    ],
)
def test_resets_are_durations_moments_or_seconds(text: str, seconds: float | None) -> None:
    now = headers.rfc3339("2026-09-21T14:13:20Z")
    assert now is not None
    assert headers.reset_s(text, now=now) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("30,000", 30_000.0), ("1,234,567.5", 1_234_567.5), ("7", 7.0), ("3,0", None), ("x", None)],
)
def test_numbers_may_have_commas_between_thousands(text: str, value: float | None) -> None:
    assert headers.number(text) == value


def test_only_limits_that_are_used_up_make_us_wait() -> None:
    told = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "30,000",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert headers.limit_reset_s(told, now=NOW) == 2.0


@pytest.mark.parametrize(("text", "said"), [("true", True), ("False", False), ("maybe", None)])
def test_the_servers_own_word_about_retrying_is_heard(text: str, said: bool | None) -> None:
    assert headers.should_retry({"x-should-retry": text}) is said


anything = st.one_of(
    st.text(max_size=80),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.floats(min_value=-1e12, max_value=1e12).map(lambda s: f"{s:f}s"),
)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), anything))
def test_whatever_a_server_writes_no_wait_is_negative_or_endless(told: dict[str, str]) -> None:
    wait = headers.retry_after_s(told, now=NOW)
    assert wait is None or 0 <= wait <= headers.LONGEST_WAIT_S


@given(anything)
def test_no_text_makes_a_reset_raise_or_go_negative(text: str) -> None:
    wait = headers.reset_s(text, now=NOW)
    assert wait is None or 0 <= wait <= headers.LONGEST_WAIT_S
    headers.http_date(text)
    headers.number(text)
