"""What the journals of a chunk say, put together."""

from pathlib import Path

import pytest

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.vault.frames import MAGIC, Answered, Faulted, Frame, Sent, encode
from nightkiln.vault.recovery import UNENDED, Recovered, recover

STUMBLED = Fault(kind=FaultClass.TRANSIENT, code="http_500")


def attempt(number: int, fault: Fault | None = None) -> Attempt:
    return Attempt(number=number, backend="b", sent_at=1.0, latency_ms=2.0, fault=fault)


def sent(*tries: tuple[int, int]) -> Sent:
    return Sent(at=1.0, backend="b", tries=tries)


def known(*epochs: list[Frame]) -> Recovered:
    found = Recovered()
    for frames in epochs:
        found.absorb(frames)
    return found


def test_the_first_answer_of_a_row_wins() -> None:
    found = known(
        [Answered(row=3, attempt=attempt(1), text="first")],
        [Answered(row=3, attempt=attempt(2), text="second")],
    )
    answer = found.answer(3)
    assert answer is not None
    assert answer.text == "first"


def test_the_attempts_of_all_epochs_are_put_together_in_order() -> None:
    found = known(
        [sent((0, 1)), Faulted(0, attempt(1, STUMBLED)), sent((0, 2))],
        [sent((0, 3)), Answered(row=0, attempt=attempt(3), text="x")],
    )
    numbers = [(a.number, None if a.fault is None else a.fault.code) for a in found.attempts(0)]
    assert numbers == [(1, "http_500"), (2, UNENDED), (3, None)]


def test_frames_written_again_under_the_next_epoch_count_once() -> None:
    frames: list[Frame] = [sent((0, 1)), Faulted(0, attempt(1, STUMBLED)), sent((0, 2))]
    assert known(frames, frames).attempts(0) == known(frames).attempts(0)


def test_an_end_that_comes_before_its_beginning_is_an_end() -> None:
    found = known([Faulted(0, attempt(1, STUMBLED)), sent((0, 1))])
    assert found.deaths(0) == 0


def test_every_attempt_without_an_end_is_a_death() -> None:
    found = known([sent((0, 1), (1, 1))], [sent((0, 2))], [sent((0, 3), (1, 2))])
    assert (found.deaths(0), found.deaths(1), found.deaths(2)) == (3, 2, 0)


def test_an_attempt_without_an_end_is_ambiguous() -> None:
    (only,) = known([sent((0, 1))]).attempts(0)
    assert only.fault is not None
    assert (only.fault.kind, only.fault.code) == (FaultClass.AMBIGUOUS, UNENDED)


def test_a_clean_stop_is_no_death() -> None:
    stopped = Fault(kind=FaultClass.AMBIGUOUS, code="interrupted")
    found = known([sent((0, 1)), Faulted(0, attempt(1, stopped))])
    assert found.deaths(0) == 0
    assert found.rows_tried() == {0}


def test_a_verdict_without_an_attempt_keeps_those_before_it() -> None:
    poison = Fault(kind=FaultClass.POISON, code="worker_deaths")
    answer = known([sent((0, 1))], [sent((0, 2))], [Answered(row=0, fault=poison)]).answer(0)
    assert answer is not None
    assert answer.fault == poison
    assert [a.number for a in answer.attempts] == [1, 2]


@pytest.mark.parametrize("torn", [0, 1, 7, 9])
def test_each_epoch_is_read_up_to_its_own_damage(tmp_path: Path, torn: int) -> None:
    good, lost = encode(Answered(row=0, text="kept")), encode(Answered(row=1, text="torn"))
    first, second = tmp_path / "0.1.log", tmp_path / "0.2.log"
    first.write_bytes(MAGIC + good + lost[:torn])
    second.write_bytes(MAGIC + encode(Answered(row=2, text="later")))
    assert recover([(1, first), (2, second)]).answers.keys() == {0, 2}


def test_an_empty_journal_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.1.log"
    path.touch()
    assert not recover([(1, path)]).answers
