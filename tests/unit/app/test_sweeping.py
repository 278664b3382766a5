"""What has had its time goes, whatever is wrong with some of it."""

from pathlib import Path

from tests.batchmaking import settings_for

from nightkiln.app.serving import SWEEPS, open_server, sweep_all
from nightkiln.core.errors import DiskError, HomeBusy, NotFound
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.service import deletion, files, outdated, uploads
from nightkiln.service.context import Context


async def test_a_sweep_that_fails_keeps_no_other_one(tmp_path: Path) -> None:
    done: list[str] = []

    async def busy(_context: Context) -> None:
        raise HomeBusy("somebody is at it")

    async def full(_context: Context) -> None:
        raise DiskError("no space left")

    async def gone(_context: Context) -> None:
        raise NotFound("no such batch")

    async def good(context: Context) -> None:
        done.append(context.project)

    settings = settings_for("http://127.0.0.1:9/v1", "m")
    async with open_server(tmp_path / "home", environ={}, settings=settings, work=False) as opened:
        await sweep_all(opened.context(DEFAULT_PROJECT), (busy, good, full, gone, good))
    assert done == [DEFAULT_PROJECT] * 2


def test_results_files_uploads_and_the_spool_are_swept() -> None:
    assert set(SWEEPS) == {outdated.sweep, files.sweep, uploads.sweep, deletion.sweep_spool}
