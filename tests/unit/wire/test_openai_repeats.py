"""One call makes one batch, however often it is sent; two calls make two."""

import json

import pytest

from nightkiln.wire.openai.refusals import Refusal
from nightkiln.wire.openai.repeats import (
    REPEATED_S,
    RETRIED_S,
    Asked,
    Creation,
    key_of,
    retries_of,
    same_creation,
)

AT = 1_800_000_000.0
FIRST = Creation(batch_id="batch_1", caller="p/k", digest="d", created_at=AT)
OVER = Creation(batch_id="batch_1", caller="p/k", digest="d", created_at=AT, over=True)
KEYED = Creation(batch_id="batch_1", caller="p/k", digest="d", key="a", created_at=AT)


def asked(after: float = 1.0, **changed: object) -> Asked:
    fields: dict[str, object] = {"caller": "p/k", "digest": "d", "at": AT + after}
    return Asked(**{**fields, **changed})  # type: ignore[arg-type]


def test_a_retried_create_is_the_same_batch() -> None:
    assert same_creation(asked(retries=1), [FIRST]) == FIRST
    assert same_creation(asked(RETRIED_S, retries=2), [FIRST]) == FIRST


def test_a_retried_create_is_the_same_batch_even_when_that_is_over() -> None:
    assert same_creation(asked(600.0, retries=1), [OVER]) == OVER


def test_a_retry_of_long_ago_is_a_new_batch() -> None:
    assert same_creation(asked(RETRIED_S + 1, retries=1), [FIRST]) is None


def test_a_retry_whose_first_try_never_came_is_a_new_batch() -> None:
    assert same_creation(asked(retries=1), []) is None


def test_a_first_try_is_a_new_batch_for_whoever_calls_twice_wants_two() -> None:
    assert same_creation(asked(retries=0), [FIRST]) is None


def test_without_a_count_the_same_words_within_minutes_are_the_same_batch() -> None:
    assert same_creation(asked(), [FIRST]) == FIRST
    assert same_creation(asked(REPEATED_S), [FIRST]) == FIRST
    assert same_creation(asked(REPEATED_S + 1), [FIRST]) is None


def test_without_a_count_a_batch_that_is_over_is_made_again() -> None:
    assert same_creation(asked(), [OVER]) is None


@pytest.mark.parametrize("retries", [None, 1])
def test_another_caller_or_another_request_is_a_new_batch(retries: int | None) -> None:
    assert same_creation(asked(caller="q/k", retries=retries), [FIRST]) is None
    assert same_creation(asked(digest="e", retries=retries), [FIRST]) is None


def test_the_newest_of_several_is_the_one_that_is_retried() -> None:
    later = Creation(batch_id="batch_2", caller="p/k", digest="d", created_at=AT + 5)
    assert same_creation(asked(10.0, retries=1), [later, FIRST]) == later
    assert same_creation(asked(10.0, retries=1), [FIRST, later]) == later


def test_the_same_key_and_request_is_the_same_batch_for_ever() -> None:
    assert same_creation(asked(1e7, key="a"), [KEYED]) == KEYED
    assert same_creation(asked(key="a", retries=0), [KEYED]) == KEYED


def test_the_same_key_with_another_request_is_refused_once_and_for_all() -> None:
    found = same_creation(asked(key="a", digest="e"), [KEYED])
    assert isinstance(found, Refusal)
    assert found.status == 409
    assert found.headers == (("x-should-retry", "false"),)
    error = json.loads(found.body)["error"]
    assert (error["param"], error["code"]) == ("idempotency_key", "idempotency_conflict")


def test_another_key_is_another_batch_and_so_is_another_callers_same_key() -> None:
    assert same_creation(asked(key="b"), [KEYED]) is None
    assert same_creation(asked(key="b", retries=1), [KEYED, FIRST]) is None
    assert same_creation(asked(key="a", caller="q/k", digest="e"), [KEYED]) is None


@pytest.mark.parametrize(
    ("said", "count"),
    [("0", 0), ("2", 2), (" 1 ", 1), ("", None), ("x", None), ("-1", None), ("9" * 99, None)],
)
def test_the_count_of_retries_is_read(said: str, count: int | None) -> None:
    assert retries_of({"x-stainless-retry-count": said}) == count
    assert retries_of({}) is None


def test_a_key_comes_in_the_header_or_in_the_body() -> None:
    assert key_of({}, None) is None
    assert key_of({"idempotency-key": "a"}, None) == "a"
    assert key_of({}, "a") == "a"
    assert key_of({"idempotency-key": "a"}, "a") == "a"


@pytest.mark.parametrize(
    ("header", "field"), [("a", "b"), ("", None), (None, ""), ("k" * 256, None), (None, "a\n")]
)
def test_a_key_that_is_none_or_two_is_refused(header: str | None, field: str | None) -> None:
    found = key_of({} if header is None else {"idempotency-key": header}, field)
    assert isinstance(found, Refusal)
    assert (found.status, found.param) == (400, "idempotency_key")
