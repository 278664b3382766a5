"""Rows with the same beginning meet the cache of the same backend; results do not change by it."""

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Task
from nightkiln.core.request import Prompt, Request, WireBody
from nightkiln.dispatch.member import Member
from nightkiln.dispatch.openchunk import Form
from nightkiln.testing.backends import ScriptedBackend, encode_prompt, fault

from .conftest import Stage, member_of, perform

Run = Callable[..., None]
DOCUMENTS, QUESTIONS, ROWS = 40, 25, 1000
CHUNK = 16  # rows, as a job of a thousand has them
KEPT = 8  # beginnings in a cache
GONE = fault(FaultClass.TRANSIENT, code="refused", sent=False, unreachable=True)


def shuffled_table() -> list[str]:
    """Every question about every document; no two documents begin alike."""
    dice = random.Random(11)
    texts = ["".join(dice.choices("abcdefgh ", k=700)) for _ in range(DOCUMENTS)]
    rows = [f"Read this: {text} Question {n}?" for text in texts for n in range(QUESTIONS)]
    dice.shuffle(rows)
    return rows


TABLE = shuffled_table()


class Caching(ScriptedBackend):
    """Keeps the last few documents, as a server keeps beginnings, and takes as long as it likes."""

    def __init__(self, *, name: str = "0", seed: int = 1) -> None:
        super().__init__(name=name, latency_s=0.0)
        self.hits = 0
        self.documents: Counter[bytes] = Counter()
        self._dice = random.Random(seed)
        self._cache: OrderedDict[bytes, None] = OrderedDict()

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        document = request.body[:400]
        self.documents[document] += 1
        self.hits += document in self._cache
        self._cache[document] = None
        self._cache.move_to_end(document)
        if len(self._cache) > KEPT:
            self._cache.popitem(last=False)
        await asyncio.sleep(self._dice.uniform(0.02, 0.3))
        return await super().answer(request, deadline=deadline)


def caching(*slots: int) -> Callable[[], list[Member]]:
    """So many backends with caches, each with its slots."""

    def members() -> list[Member]:
        return [
            member_of(Caching(name=str(number), seed=number), slots=count)
            for number, count in enumerate(slots)
        ]

    return members


async def feed(stage: Stage, table: Sequence[Prompt] = TABLE, form: Form | None = None) -> None:
    """Open chunks as a runner does, and wait for the last answer."""
    for first in range(0, len(table), CHUNK):
        rows = range(first, min(first + CHUNK, len(table)))
        await stage.until(lambda: unanswered(stage) < stage.fleet.window)
        await stage.add(rows, form=form, text=table.__getitem__)
    stage.fleet.no_more()
    await stage.until_answered()


def unanswered(stage: Stage) -> int:
    return sum(chunk.unanswered for chunk in stage.chunks)


def caches(stage: Stage) -> list[Caching]:
    return [backend for backend in stage.backends if isinstance(backend, Caching)]


def hit_share(stage: Stage) -> float:
    asked = sum(one.asks.total() for one in caches(stage))
    return sum(one.hits for one in caches(stage)) / asked


@pytest.mark.parametrize("slots", [(16,), (12, 4), (4, 4, 4, 4)])
def test_most_rows_of_a_shuffled_table_find_their_document_cached(
    tmp_path: Path, slots: tuple[int, ...]
) -> None:
    shares: dict[bool, float] = {}
    took_s: dict[bool, float] = {}

    async def play(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        by_prefix, began = not shares, loop.time()
        await feed(stage)
        took_s[by_prefix], shares[by_prefix] = loop.time() - began, hit_share(stage)

    for by_prefix in (True, False):
        folder = tmp_path / str(by_prefix)
        folder.mkdir()
        perform(folder, play, members=caching(*slots), by_prefix=by_prefix)
    assert shares[False] < 0.35
    assert shares[True] > 0.75
    assert took_s[True] < 1.1 * took_s[False]  # nobody waits for a cache


def test_each_document_is_mostly_read_by_one_of_two_backends(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await feed(stage)
        one, other = (backend.documents for backend in caches(stage))
        mostly = sum(max(one[text], other[text]) for text in one | other)
        assert mostly > 0.85 * ROWS
        assert min(one.total(), other.total()) > 0.4 * ROWS

    on_stage(play, members=caching(8, 8))


def test_results_are_in_the_order_of_the_table_and_each_row_is_asked_once(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await feed(stage)
        answers = [answer for chunk in stage.chunks for answer in chunk.answers()]
        assert [answer.row for answer in answers] == list(range(ROWS))
        assert [answer.text for answer in answers] == [row.upper() for row in TABLE]
        assert sum((one.asks for one in caches(stage)), Counter()) == Counter(range(ROWS))
        first = [row for _, row in caches(stage)[0].seen[:200]]
        assert first != sorted(first)

    on_stage(play, members=caching(8, 8))


def test_the_documents_of_a_backend_that_is_gone_are_read_by_the_other(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backends[1].fail_until(15.0, GONE)
        await feed(stage)
        assert {answer.fault for answer in stage.answers().values()} == {None}
        assert hit_share(stage) > 0.7

    on_stage(play, members=caching(8, 8))


@pytest.mark.parametrize(
    ("table", "form"),
    [
        ([f"Read this: row {n}" for n in range(200)], None),
        (TABLE[:200], Form(encode=encode_prompt, task=Task.EMBEDDING)),
    ],
)
def test_rows_that_share_nothing_and_embeddings_go_in_the_order_of_the_table(
    on_stage: Run, table: list[str], form: Form | None
) -> None:
    async def play(stage: Stage) -> None:
        await feed(stage, table, form)
        assert stage.fleet.window == 8
        assert [row for _, row in stage.backend.seen] == list(range(200))

    on_stage(play)


def test_rows_that_may_answer_long_go_first_once_no_more_will_come(on_stage: Run) -> None:
    limits = {row: 4000 if row in (57, 91) else 50 for row in range(100)}
    table = [WireBody(b'{"messages": [], "max_tokens": %d}' % limits[n]) for n in range(100)]

    async def play(stage: Stage) -> None:
        await stage.add(range(100), text=table.__getitem__)
        stage.fleet.no_more()
        stage.fleet.no_more()
        await stage.until_answered()
        assert [row for _, row in stage.backend.seen][:4] == [57, 91, 0, 1]
        assert stage.backend.asks == Counter(range(100))

    on_stage(play)


def test_long_prompts_go_first_where_they_were_seen_to_have_long_answers(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        lengths = [1 + 10 * (n * 7 % 10) for n in range(100)]  # the answer is as long
        table = ["x" * length for length in lengths]
        await stage.add(range(100), text=table.__getitem__)
        await stage.until(lambda: stage.chunks[0].unanswered <= 50)
        asked = len(stage.backend.seen)
        stage.fleet.no_more()
        await stage.until_answered()
        rest = [lengths[row] for _, row in stage.backend.seen[asked:]]
        assert rest[:10] == sorted(rest, reverse=True)[:10]
        assert stage.backend.asks == Counter(range(100))

    on_stage(play)


def test_a_row_that_failed_keeps_its_place_before_all_groups(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(0, 200, 9):
            stage.backend.script(TABLE[row], [fault(FaultClass.TRANSIENT)])
        await feed(stage, TABLE[:200])
        assert {answer.fault for answer in stage.answers().values()} == {None}
        assert stage.backend.asks.total() == 200 + len(range(0, 200, 9))

    on_stage(play, members=caching(4))
