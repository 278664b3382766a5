"""What the command line does with jobs, the same in a home and at a server."""

import asyncio
import io
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.scenario.place import Provider

from nightkiln.app.settings import load_settings
from nightkiln.core.errors import InputError, JobFailed, UsageError
from nightkiln.core.events import Ended, Noticed, Opened, Progressed
from nightkiln.core.job import TERMINAL, JobState, PromptSpec
from nightkiln.plan.budget import Caps
from nightkiln.sdk.verbs import Doing, doing
from nightkiln.service import api
from nightkiln.service.arriving import FromRows
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order
from nightkiln.service.selection import Selection

T = TypeVar("T")
WAIT_S = 60.0
_fresh = itertools.count()


class Desk(msgspec.Struct, frozen=True):
    """The verbs of a home or of a server, a provider, and a folder for files."""

    verbs: Callable[[], Any]
    provider: Provider
    folder: Path
    is_elsewhere: bool

    def do(self, work: Callable[[Doing], Awaitable[T]]) -> T:
        """Do something with the verbs."""

        async def main() -> T:
            async with asyncio.timeout(WAIT_S), self.verbs() as verbs:
                return await work(verbs)

        return asyncio.run(main())

    def run(self, order: Order) -> Ended:
        """Run an order to its end."""
        return self.do(lambda verbs: verbs.run(order, listen=unheard, stop=asyncio.Event()))

    def order(self, name: str, *, output: str | None = None, **more: Any) -> Order:
        """An order for the provider over a file of the folder."""
        path = name if name == "-" else str(self.folder / name)
        out = None
        if output is not None:
            out = str(self.folder / output) + ("/" if output.endswith("/") else "")
        plain = Order(
            input=path,
            output=out,
            prompt=PromptSpec(columns=("text",)),
            model="m",
            endpoint=self.provider.url,
            wait_s=WAIT_S,
        )
        return msgspec.structs.replace(plain, **more)

    def table(self, many: int, *, bad: bool = False) -> str:
        """A CSV file of rows that no other test has asked."""
        run = next(_fresh)
        lines = [f"{run}: row {n},{n}" for n in range(many)]
        if bad:
            lines[1] += ",one,two"
        (self.folder / "in.csv").write_text("\n".join(["text,n", *lines, ""]))
        return "in.csv"

    def parts(self, folder: str, many: int) -> list[str]:
        """A folder of two Parquet files; their texts in order."""
        run = next(_fresh)
        (self.folder / folder).mkdir()
        texts = [f"{run}: part row {n}" for n in range(many)]
        for name, some in (("a", texts[: many // 2]), ("b", texts[many // 2 :])):
            table = pa.table({"text": some, "n": pa.array(range(len(some)), pa.int16())})
            pq.write_table(table, self.folder / folder / f"{name}.parquet")
        return texts


def unheard(_: Opened | Progressed | Noticed) -> None:
    """Nobody listens."""


@pytest.fixture(params=["local", "remote"])
def desk(request: pytest.FixtureRequest, simulator: Provider, tmp_path: Path) -> Desk:
    simulator.renew()
    if request.param == "local":
        flags, environ = {"home": str(tmp_path / "home")}, {}
    else:
        url, key = request.getfixturevalue("server_url")
        flags, environ = {}, {"NIGHTKILN_URL": url, "NIGHTKILN_API_KEY": key}
    settings = load_settings(environ, tmp_path, flags)

    @asynccontextmanager
    async def verbs() -> AsyncIterator[Doing]:
        async with doing(settings, environ) as opened:
            yield opened

    return Desk(verbs, simulator, tmp_path, request.param == "remote")


def test_a_folder_of_parquet_is_one_input(desk: Desk) -> None:
    texts = desk.parts("parts", 9)
    ended = desk.run(desk.order("parts", output="out.parquet"))
    assert (ended.state, ended.rows) == (JobState.SUCCEEDED, 9)
    found = pq.read_table(desk.folder / "out.parquet")
    assert found.column("text").to_pylist() == texts
    assert found.schema.field("n").type == pa.int16()


def test_a_pattern_of_parquet_is_one_input(desk: Desk) -> None:
    texts = desk.parts("parts", 4)
    ended = desk.run(desk.order("parts/*.parquet", output="out.jsonl"))
    assert ended.rows == 4
    lines = (desk.folder / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


def test_files_that_do_not_agree_are_refused(desk: Desk) -> None:
    desk.parts("parts", 4)
    pq.write_table(pa.table({"other": [1]}), desk.folder / "parts" / "c.parquet")
    with pytest.raises((InputError, JobFailed), match="has no column"):
        desk.run(desk.order("parts"))


def test_standard_input_is_an_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO((desk.folder / desk.table(3)).read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    ended = desk.run(desk.order("-", input_format="csv", output="out.csv"))
    assert ended.rows == 3
    assert len((desk.folder / "out.csv").read_text().splitlines()) == 4


def test_the_results_come_as_a_folder_of_parquet(desk: Desk) -> None:
    ended = desk.run(desk.order(desk.table(30), output="out/"))
    assert ended.output is not None
    found = pq.read_table(desk.folder / "out")
    assert found.num_rows == 30
    manifest = json.loads((desk.folder / "out" / "_manifest.json").read_text())
    assert manifest["job"] == ended.job
    again = str(desk.folder / "out") + "/"
    assert desk.do(lambda verbs: verbs.export(ended.job, again, None)) == 30
    few = Selection(limit=2)
    with pytest.raises(UsageError, match="whole of an ended job"):
        desk.do(lambda verbs: verbs.export(ended.job, again, None, wanted=few))
    (desk.folder / "mine").mkdir()
    pq.write_table(pa.table({"x": [1]}), desk.folder / "mine" / "x.parquet")
    mine = str(desk.folder / "mine") + "/"
    with pytest.raises(UsageError, match="not ours"):
        desk.do(lambda verbs: verbs.export(ended.job, mine, None))


def test_bad_rows_are_written_where_the_command_is(desk: Desk) -> None:
    bad = desk.folder / "bad.jsonl"
    ended = desk.run(desk.order(desk.table(5, bad=True), bad_rows=str(bad)))
    assert (ended.state, ended.bad) == (JobState.COMPLETED_WITH_ERRORS, 1)
    assert ended.bad_rows == str(bad)
    (line,) = [json.loads(text) for text in bad.read_text().splitlines()]
    assert (line["row"], line["line"]) == (1, 3)
    with pytest.raises(UsageError, match="cannot be written"):
        desk.run(desk.order("in.csv", bad_rows=str(desk.folder / "no" / "bad.jsonl")))


def test_bad_rows_of_a_job_that_they_fail_are_written_too(desk: Desk) -> None:
    bad = desk.folder / "bad.jsonl"
    order = desk.order(desk.table(5, bad=True), bad_rows=str(bad), on_bad_row="fail")
    with pytest.raises((InputError, JobFailed), match=r"in\.csv"):
        desk.run(order)
    assert len(bad.read_text().splitlines()) == 1


def test_some_rows_are_tried_and_the_rest_waits_for_a_word(desk: Desk) -> None:
    ended = desk.run(desk.order(desk.table(40), try_rows=3))
    assert ended.trial is not None
    assert ended.state is JobState.PAUSED
    assert ended.trial.rows == 40
    assert len(ended.trial.tried) == 3
    assert all(one.answer for one in ended.trial.tried)
    assert desk.provider.requests == 3
    ended = desk.do(
        lambda verbs: verbs.resume(
            ended.job, Changes(wait_s=WAIT_S), listen=unheard, stop=asyncio.Event()
        )
    )
    assert ended.state is JobState.SUCCEEDED
    assert desk.provider.requests == 40


def test_after_a_trial_the_same_command_without_it_asks_the_rest(desk: Desk) -> None:
    order = desk.order(desk.table(20), try_rows=2)
    first = desk.run(order)
    ended = desk.run(msgspec.structs.replace(order, try_rows=None))
    assert (ended.job, ended.state) == (first.job, JobState.SUCCEEDED)
    assert desk.provider.requests == 20


def test_a_trial_of_more_rows_than_there_are_is_a_run(desk: Desk) -> None:
    ended = desk.run(desk.order(desk.table(3), try_rows=50, output="out.csv"))
    assert ended.trial is None
    assert ended.state is JobState.SUCCEEDED
    assert len((desk.folder / "out.csv").read_text().splitlines()) == 4


def test_a_job_that_a_cap_has_stopped_is_told_at_once(desk: Desk) -> None:
    ended = desk.run(desk.order(desk.table(300), caps=Caps(tokens=400), concurrency=2))
    assert ended.state is JobState.PAUSED
    assert ended.capped
    assert "cap" in ended.reason
    desk.do(lambda verbs: verbs.cancel(ended.job))


def test_a_retry_that_is_over_already_is_still_waited_for(desk: Desk) -> None:
    name = desk.table(4)
    with (desk.folder / name).open("a") as file:
        file.write(f"{next(_fresh)}: __poison__,9\n")
    first = desk.run(desk.order(name))
    assert first.state is JobState.COMPLETED_WITH_ERRORS
    view = desk.do(lambda verbs: verbs.retry(first.job))
    assert view.job.generation == 2
    until = time.monotonic() + WAIT_S
    while desk.is_elsewhere:  # there it is asked at once
        if desk.do(lambda verbs: verbs.job(first.job)).job.state.is_terminal:
            break
        assert time.monotonic() < until
    changes = Changes(output=str(desk.folder / "again.csv"), wait_s=WAIT_S, generation=2)
    ended = desk.do(
        lambda verbs: verbs.resume(first.job, changes, listen=unheard, stop=asyncio.Event())
    )
    assert ended.state is JobState.COMPLETED_WITH_ERRORS
    assert len((desk.folder / "again.csv").read_text().splitlines()) == 6


def test_jobs_that_ended_long_ago_are_found_and_removed(desk: Desk) -> None:
    ended = desk.run(desk.order(desk.table(3)))
    found = desk.do(lambda verbs: verbs.old_jobs(states=TERMINAL, older_than_s=0.0))
    old = [one for one in found if one.job == ended.job]
    assert [(one.state, one.rows) for one in old] == [("succeeded", 3)]
    assert old[0].size_bytes > 0
    assert old[0].ended_at <= time.time()
    only = frozenset({JobState.FAILED})
    failed = desk.do(lambda verbs: verbs.old_jobs(states=only, older_than_s=0.0))
    assert ended.job not in [one.job for one in failed]
    assert not desk.do(lambda verbs: verbs.old_jobs(states=TERMINAL, older_than_s=86_400.0))
    done = desk.do(lambda verbs: verbs.clean([*old, *old]))
    assert [one.job for one in done.deleted] == [ended.job]
    assert ended.job not in [one.job.id for one in desk.do(lambda verbs: verbs.jobs())]


def test_everything_that_may_be_said_anew_can_be_said_to_a_server() -> None:
    ours = {"headers", "output", "output_format", "excel_safe", "generation", "wait_s"}
    assert set(api.Going.__struct_fields__) == set(Changes.__struct_fields__) - ours


def test_everything_in_an_order_can_be_said_to_a_server() -> None:
    ours = {"staged", "output", "output_format", "headers", "excel_safe", "bad_rows", "detached"}
    known = {*api.NewJob.__struct_fields__, *ours, "wait_s"}
    assert set(Order.__struct_fields__) <= known
    assert api.NewJob(input=FromRows(rows=[])).try_rows is None
