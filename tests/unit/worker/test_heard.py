"""What a run says of models that were not asked."""

from nightkiln.vault.frames import Answered
from nightkiln.worker.heard import Heard


def answered(*models: str) -> list[Answered]:
    return [Answered(row=row, text="t", model=model) for row, model in enumerate(models)]


def test_another_model_is_told_of_once_and_counted() -> None:
    told: list[str] = []
    heard = Heard("m", tell=told.append)
    heard.note(answered("m", "", "m-2024-08-06", "n", "n"))
    heard.note(answered("o", "n"))
    assert told == ["asked m, answered by n"]
    assert heard.names == ("n", "o")
    assert heard.others == {"n": 3, "o": 1}


def test_names_without_end_do_not_fill_the_memory() -> None:
    heard = Heard("m", tell=lambda _: None)
    heard.note(answered(*(f"n{number}" for number in range(1000))))
    heard.note(answered(*(f"m-{number:08d}" for number in range(1000))))
    assert len(heard.others) == 64
    assert heard.others["n0"] == 1


def test_a_name_is_made_safe_for_a_terminal() -> None:
    told: list[str] = []
    Heard("m", tell=told.append).note(answered("n\x1b[2J" + "x" * 500))
    assert "\x1b" not in told[0]
    assert len(told[0]) < 150
