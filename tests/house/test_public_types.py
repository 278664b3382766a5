"""What a type checker makes of the public names: what is right passes, what is wrong does not.

mypy reads samples as a user's project would, strictly, with nothing of ours but
what is installed.
"""

import re
from pathlib import Path

import pytest
from mypy import api

RIGHT = """
import asyncio
from collections.abc import Iterator
import nightkiln as nk

job_id: str = nk.infer(["a"], "m", column="text", endpoint="http://x/v1", job_priority=1)
same: str = nk.infer(inputs=iter(["a"]), sampling_params={"max_tokens": 5}, output_schema=dict)
status: str = nk.get_job_status(job_id)
results = nk.await_job_results(job_id, timeout=3600)
ids: list[str] = nk.infer_per_model(["a"], ["m1", "m2"], names=["x", "y"], column="text")
info: nk.JobInfo = nk.list_jobs()[0]
ok: int = info.ok
job: nk.Job = nk.job(job_id)
steps: Iterator[nk.Progress] = job.watch()
errors: list[nk.RowError] = job.errors()
planned_rows: int = nk.Client().plan(["a"]).rows

async def main() -> int:
    async with nk.AsyncClient(home="x") as client:
        job_id: str = await client.infer(["a"], column="text")
        async for progress in client.job(job_id):
            share: float = progress.share
        return len(await client.await_job_results(job_id))

with nk.Client(home="x", quiet=True) as client:
    try:
        client.infer(["a"], model="m")
    except nk.JobTimeout as late:
        error: TimeoutError = late
asyncio.run(main())
"""

WRONG = {
    "an argument that does not exist": 'nk.infer(["a"], colum="text")',
    "a priority in words": 'nk.infer(["a"], job_priority="high")',
    "a key that is no text": 'nk.infer(["a"], key=7)',
    "an id that is awaited without need": "async def f() -> None: await nk.infer(['a'])",
    "a coroutine taken for an id": "x: str = nk.AsyncClient().infer(['a'])",
    "a status taken for a number": 'x: int = nk.get_job_status("job")',
    "a name that is not offered": 'nk.infer_all(["a"])',
    "an option of one model only": 'nk.infer_per_model(["a"], ["m"], dry_run=True)',
}


def complaints(folder: Path, source: str) -> set[int]:
    """The lines of a sample that mypy complains of."""
    sample = folder / "sample.py"
    sample.write_text(source)
    arguments = ["--strict", "--no-error-summary", "--hide-error-context", "--config-file", ""]
    out, err, _ = api.run([*arguments, "--cache-dir", str(folder / "cache"), str(sample)])
    assert not err, err
    found = [re.match(r".*sample\.py:(\d+): error", line) for line in out.splitlines()]
    return {int(match.group(1)) for match in found if match}


@pytest.mark.timeout(600)
def test_right_uses_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    right = RIGHT.count("\n")
    lines = [f"{source}  # {what}" for what, source in WRONG.items()]
    found = complaints(tmp_path, RIGHT + "\n".join(lines) + "\n")
    assert not {line for line in found if line <= right}, f"mypy refuses right uses: {found}"
    passed = [text for number, text in enumerate(lines, right + 1) if number not in found]
    assert not passed, f"mypy lets these through: {passed}"
