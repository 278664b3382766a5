"""What rows share, how much of them stays open, and who goes first at the end."""

import random

import pytest

from nightkiln.plan.order import (
    HEAD,
    Look,
    Sharing,
    expected,
    long_first,
    sharing_in,
    window_rows,
)

DICE = random.Random(7)
TEMPLATE = "You answer questions about a document, in one word.\n" * 20


def text_of(length: int) -> str:
    return "".join(DICE.choices("abcdefgh ", k=length))


def table(documents: int, questions: int, *, length: int = 600, before: str = "") -> list[str]:
    """Every question about every document, shuffled."""
    texts = [text_of(length) for _ in range(documents)]
    rows = [f"{before}{one} Question {n}?" for one in texts for n in range(questions)]
    DICE.shuffle(rows)
    return rows


def groups(rows: list[str], at: Sharing) -> int:
    return len({row[at.start : at.stop] for row in rows})


@pytest.mark.parametrize("before", ["", TEMPLATE])
def test_questions_about_documents_have_their_document_as_the_key(before: str) -> None:
    rows = table(20, 10, before=before)
    found = sharing_in(rows)
    assert found is not None
    assert groups(rows, found) == 20
    assert len(before) <= found.start <= len(before) + 3
    assert found.stop - found.start == 512  # more than that is not the document any more


def test_a_few_odd_rows_hide_no_template() -> None:
    rows = [*table(20, 10, before=TEMPLATE), *[text_of(900) for _ in range(10)]]
    found = sharing_in(rows)
    assert found is not None
    assert len(TEMPLATE) <= found.start
    assert groups(rows, found) <= 30


@pytest.mark.parametrize(
    "rows",
    [
        [text_of(800) for _ in range(200)],
        [TEMPLATE + text_of(800) for _ in range(200)],
        [f"row {n}" for n in range(200)],
        ["the very same" * 50] * 200,
        [text_of(20)[:2] + text_of(500) for _ in range(200)],
        [""] * 200,
    ],
)
def test_rows_that_share_too_little_or_everything_have_no_key(rows: list[str]) -> None:
    assert sharing_in(rows) is None


def test_what_is_known_stays_unless_something_is_clearly_better() -> None:
    rows = table(20, 10)
    good, bad = Sharing(1, 400), Sharing(590, 650)
    assert sharing_in(rows, known=good) == good
    assert sharing_in(rows, known=bad) not in (bad, None)
    assert sharing_in([text_of(800) for _ in range(200)], known=good) is None


def looks_at(rows: list[str]) -> tuple[Look, int]:
    look, changes = Look(), 0
    for at in range(0, len(rows), 16):
        some = rows[at : at + 16]
        changes += look.saw([row[:HEAD] for row in some], rows=len(some))
    return look, changes


def test_sharing_is_found_early_and_kept() -> None:
    look, changes = looks_at(table(40, 25)[:160])
    assert look.sharing is not None
    assert changes <= 2


def test_a_table_that_is_sorted_by_its_documents_is_understood_after_a_few_of_them() -> None:
    look, _ = looks_at(sorted(table(40, 25)))
    assert look.sharing is not None


def test_a_job_that_shares_nothing_is_looked_at_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "nightkiln.plan.order.sharing_in", lambda sample, known: asked.append(len(sample))
    )
    looks_at([f"row {n}" for n in range(4096)])
    assert len(asked) <= 10


def test_the_window_is_wider_only_where_rows_share() -> None:
    assert window_rows(64, shares=False) == 128
    assert window_rows(64, shares=True) == 1024
    assert window_rows(4096, shares=True) == window_rows(4096, shares=False)


def test_limits_say_how_long_answers_may_be_where_they_differ() -> None:
    assert expected([5, 900, None], [1, 1, 1], []) == [5, 900, 900]
    assert expected([5, 5], [1, 2], []) is None
    assert expected([None, None], [1, 2], []) is None
    assert expected([], [1, 2], []) is None


def test_prompt_length_counts_only_where_it_went_with_answer_length() -> None:
    together = [(size, size // 2 + DICE.randint(0, 50)) for size in range(10, 1000, 10)]
    apart = [(size, DICE.randint(0, 500)) for size in range(10, 1000, 10)]
    against = [(size, 1000 - size) for size in range(10, 1000, 10)]
    lengths = expected([], [100, 900], together)
    assert lengths is not None
    assert 50 < lengths[0] < 120 < 420 < lengths[1] < 520
    for seen in (apart, against, together[:20], [(100, 7)] * 100):
        assert expected([], [100, 900], seen) is None


def test_long_ones_go_first_and_like_ones_keep_their_order() -> None:
    assert long_first([10, 500, 10, 900, 10]) == [3, 1]
    assert long_first([10, 11, 9, 10]) == []
    assert long_first([]) == []
