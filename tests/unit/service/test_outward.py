"""What waits on other machines waits apart: bounded, with a deadline, and in nobody's way."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from nightkiln.core.errors import InputError, UnreachableError
from nightkiln.core.ids import ProjectId
from nightkiln.core.job import PromptSpec
from nightkiln.service.arriving import FromUrl, arrived
from nightkiln.service.context import Context
from nightkiln.service.fetching import Fetching
from nightkiln.service.orders import Order
from nightkiln.service.outward import Outward

ANNA, BERT = ProjectId("anna"), ProjectId("bert")
DEADLINE_S = 30.0


class Hanging:
    """Work that hangs until it is let go, and counts how many do at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.at_work = 0
        self.begun = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.at_work += 1
        self.begun.release()
        assert self.go_on.wait(DEADLINE_S)
        with self._lock:
            self.at_work -= 1
        return "done"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    work = Hanging()
    yield work
    work.go_on.set()


async def test_one_project_that_hangs_leaves_room_for_the_others(hanging: Hanging) -> None:
    outward = Outward(at_once=4, each=2)
    waiting = [
        asyncio.create_task(outward.run(ANNA, hanging, deadline_s=DEADLINE_S, what="it"))
        for _ in range(6)
    ]
    assert await outward.run(BERT, lambda: "here", deadline_s=DEADLINE_S, what="it") == "here"
    for _ in range(2):
        assert await asyncio.to_thread(hanging.begun.acquire, timeout=DEADLINE_S)
    assert hanging.at_work == 2
    hanging.go_on.set()
    assert await asyncio.gather(*waiting) == ["done"] * 6


async def test_a_caller_leaves_at_the_deadline_and_its_thread_keeps_its_place(
    hanging: Hanging,
) -> None:
    outward = Outward(at_once=1, each=1)
    with pytest.raises(UnreachableError, match=r"fetching a table took longer than 0 s"):
        await outward.run(ANNA, hanging, deadline_s=0.05, what="fetching a table")
    with pytest.raises(UnreachableError):  # the thread is still out there
        await outward.run(BERT, lambda: "here", deadline_s=0.05, what="it")
    hanging.go_on.set()
    assert await outward.run(BERT, lambda: "here", deadline_s=DEADLINE_S, what="it") == "here"


async def test_a_wait_of_the_work_that_is_over_is_not_the_deadline() -> None:
    def waits() -> None:
        raise TimeoutError("the connection timed out")

    with pytest.raises(TimeoutError, match="the connection timed out"):
        await Outward().run(ANNA, waits, deadline_s=DEADLINE_S, what="it")


async def test_a_thread_that_cannot_begin_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outward = Outward(at_once=1, each=1)

    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuses)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await outward.run(ANNA, lambda: "here", deadline_s=DEADLINE_S, what="it")
    assert await outward.run(ANNA, lambda: "here", deadline_s=DEADLINE_S, what="it") == "here"


async def test_what_work_raises_comes_to_its_caller() -> None:
    outward = Outward()

    def fails() -> None:
        raise InputError("no table")

    for _ in range(20):  # more than there are places
        with pytest.raises(InputError, match="no table"):
            await outward.run(ANNA, fails, deadline_s=DEADLINE_S, what="it")


async def test_a_bug_in_work_ends_its_caller_is_told_and_gives_the_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outward, told = Outward(at_once=1), threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: told.set())

    def stumbles() -> None:
        raise KeyError("a bug")

    with pytest.raises(RuntimeError, match="a bug in what waits"):
        await outward.run(ANNA, stumbles, deadline_s=DEADLINE_S, what="it")
    assert await asyncio.to_thread(told.wait, DEADLINE_S)
    assert await outward.run(ANNA, lambda: "here", deadline_s=DEADLINE_S, what="it") == "here"


@pytest.fixture
def dripping() -> Iterator[str]:
    """The URL of a server that begins to answer and never ends."""
    listening, closing = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\ntext\n")
                while not closing.wait(0.02):
                    connection.sendall(b"more\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/a.txt?token=secret"
    closing.set()
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(DEADLINE_S)


def order() -> Order:
    return Order(input="", output=None, prompt=PromptSpec(), model=None)


async def test_a_table_that_never_ends_is_given_up_and_nothing_is_left(
    context: Context, dripping: str
) -> None:
    rules = Fetching(allowed=lambda address: address.is_loopback, deadline_s=0.5)
    wanted = FromUrl(url=dripping)
    with pytest.raises(InputError, match="took longer than") as caught:
        await arrived(context, wanted, order(), outward=Outward(), fetching=rules)
    assert "secret" not in caught.value.message
    assert [*context.home.spool.glob("*")] == []


async def test_a_server_that_is_not_there_is_the_callers_to_hear_of(context: Context) -> None:
    rules = Fetching(allowed=lambda address: address.is_loopback)
    wanted = FromUrl(url="http://127.0.0.1:1/a.txt")
    with pytest.raises(InputError, match="cannot be reached: Connection refused"):
        await arrived(context, wanted, order(), outward=Outward(), fetching=rules)
