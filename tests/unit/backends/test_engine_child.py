"""When an engine's process takes in, and when it tells, seen from its owner's end of the socket."""

import socket
import threading
from collections.abc import Iterator

import pytest

from nightkiln.backends.engines.asking import EngineSampling
from nightkiln.backends.engines.child import Serving
from nightkiln.backends.engines.machine import NotTaken
from nightkiln.backends.engines.messages import (
    Ask,
    Died,
    Ended,
    FromChild,
    Learn,
    Load,
    Loaded,
    Orders,
    Refused,
    Told,
    Unframing,
    framed,
)

NEVER_S = 3600.0
SOON_S = 20.0


class Steps:
    """A machine whose requests end after as many steps as their text says."""

    def __init__(self, load: Load) -> None:
        self.left: dict[int, int] = {}
        self.most = 0  # of them side by side, ever

    def loaded(self) -> Loaded:
        return Loaded()

    def learn(self, learn: Learn) -> None:
        """Nothing is sampled here."""

    def begin(self, ask: Ask) -> None:
        if ask.text == "no":
            raise NotTaken("refused", "not this one")
        self.left[ask.number] = int(ask.text)
        self.most = max(self.most, len(self.left))

    def step(self) -> None:
        if -1 in self.left.values():
            raise MemoryError("no memory for this")
        self.left = {number: steps - 1 for number, steps in self.left.items()}

    def finished(self) -> list[Ended]:
        over = [number for number, steps in self.left.items() if not steps]
        for number in over:
            del self.left[number]
        return [Ended(number, [self.most], "stop") for number in over]

    def cancel(self, number: int) -> None:
        self.left.pop(number, None)


class Owner:
    """The other end: says orders and hears messages."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unframing: Unframing[FromChild] = Unframing(FromChild)
        self._heard: list[FromChild] = []
        end.settimeout(SOON_S)

    def load(self, *, side_by_side: int = 4) -> None:
        here = f"{__name__}:Steps"
        load = Load(machine=here, model="", context=9, own_tokens=False, side_by_side=side_by_side)
        self._end.sendall(framed(load))
        assert isinstance(self.hear(), Loaded)

    def ask(self, texts: dict[int, str], *, cancel: tuple[int, ...] = ()) -> None:
        asks = [Ask(number, 1, text=text) for number, text in texts.items()]
        learn = [Learn(1, EngineSampling())]
        self._end.sendall(framed(Orders(learn, list(cancel), asks)))

    def hear(self) -> FromChild:
        while not self._heard:
            data = self._end.recv(65536)
            assert data, "it has gone"
            self._heard = self._unframing.messages(data)
        return self._heard.pop(0)

    def numbers(self, count: int) -> list[int]:
        """The numbers of the next requests that end, as they are told."""
        found: list[int] = []
        while len(found) < count:
            told = self.hear()
            assert isinstance(told, Told)
            found += [ended.number for ended in told.ended]
        return found


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    monkeypatch.setitem(__import__("sys").modules, __name__, _this_module())
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=Serving(theirs, tell_s=NEVER_S).run)
    serving.start()
    yield Owner(ours)
    ours.close()
    serving.join(SOON_S)
    theirs.close()
    assert not serving.is_alive(), "it stays when its owner has gone"


def _this_module() -> object:
    return type("Here", (), {"Steps": Steps})


def test_the_outcome_of_a_lone_request_is_told_at_once(owner: Owner) -> None:
    owner.load()
    owner.ask({7: "3"})
    assert owner.numbers(1) == [7]


def test_an_outcome_is_told_at_once_while_the_engine_has_room(owner: Owner) -> None:
    owner.load()
    owner.ask({1: "1", 2: "1000000"})
    assert owner.numbers(1) == [1]


def test_a_refusal_is_told_at_once(owner: Owner) -> None:
    owner.load()
    owner.ask({1: "no"})
    assert owner.hear() == Told([], [Refused(1, "refused", "not this one")])


def test_no_more_are_taken_in_than_the_owner_counts_on(owner: Owner) -> None:
    owner.load(side_by_side=2)
    owner.ask(dict.fromkeys(range(9), "2"))
    found: list[Ended] = []
    while len(found) < 9:
        told = owner.hear()
        assert isinstance(told, Told)
        found += told.ended
    assert [ended.number for ended in found] == list(range(9))
    assert {ended.ids[0] for ended in found} <= {1, 2}


def test_what_is_cancelled_is_never_told(owner: Owner) -> None:
    owner.load(side_by_side=1)
    owner.ask({1: "1000000000", 2: "1", 3: "1"})
    owner.ask({}, cancel=(1, 2))
    assert owner.numbers(1) == [3]


def test_the_last_word_says_why(owner: Owner) -> None:
    owner.load()
    owner.ask({1: "-1"})
    assert owner.hear() == Died(reason="no memory for this")


def test_bytes_in_pieces_become_the_same_messages() -> None:
    said = framed(Orders([], [1], [])) + framed(Orders([], [2], []))
    unframing: Unframing[Orders] = Unframing(Orders)
    found = [message for byte in said for message in unframing.messages(bytes([byte]))]
    assert [message.cancel for message in found] == [[1], [2]]


def test_a_length_that_nobody_sends_is_refused() -> None:
    unframing: Unframing[Orders] = Unframing(Orders)
    with pytest.raises(ValueError, match="a frame of"):
        unframing.messages(b"\xff\xff\xff\xff")
