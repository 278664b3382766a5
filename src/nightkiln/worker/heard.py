"""Which models answered, by their own word, where that is not the one that was asked.

An endpoint that falls back to another model says so only in a field of each
reply. That is no fault of the row, and must not go unseen either.
"""

from collections.abc import Callable, Iterable
from typing import Final

from nightkiln.vault.frames import Answered
from nightkiln.wire.modelnames import is_same_model

_NAMES: Final = 64  # kept; a server may put a new name into every reply
_LENGTH: Final = 100  # of a name that is shown


class Heard:
    """One run's ear for names. Tells of the first other model once."""

    def __init__(self, asked: str, *, tell: Callable[[str], None]) -> None:
        self.others: dict[str, int] = {}  # answers by model, of those that were not asked
        self._asked = asked
        self._same = {asked, ""}
        self._tell = tell

    def note(self, answers: Iterable[Answered]) -> None:
        """These answers are safe."""
        for answer in answers:
            if answer.model not in self._same:
                self._other(answer.model)

    def _other(self, model: str) -> None:
        if model not in self.others:
            if is_same_model(self._asked, model):
                if len(self._same) < _NAMES:
                    self._same.add(model)
                return
            if len(self.others) >= _NAMES:
                return
            if not self.others:
                self._tell(f"asked {self._asked}, answered by {_shown(model)}")
        self.others[model] = self.others.get(model, 0) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The other models, the one with the most answers first."""
        ordered = sorted(self.others.items(), key=lambda one: -one[1])
        return tuple(_shown(name) for name, _ in ordered)


def _shown(model: str) -> str:
    """A name that is safe on a terminal."""
    plain = "".join(mark if mark.isprintable() else "�" for mark in model[:_LENGTH])
    return plain if len(model) <= _LENGTH else plain + "…"
