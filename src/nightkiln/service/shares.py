"""How a job's rows and money were shared out to its backends: read from its parts, asks nobody.

Only for jobs that went to several backends: it opens every part there is.
"""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from nightkiln.core.events import BackendShare
from nightkiln.core.job import Job
from nightkiln.vault.home import JobFiles
from nightkiln.vault.publish import read_manifest


def shares_of(files: JobFiles, job: Job) -> tuple[BackendShare, ...]:
    """What each backend answered and cost so far, by name; rows that nobody was asked are in none.

    A row counts for the backend that ended it, money for every backend that was paid.
    """
    rows, paid, unknown = Counter[str](), dict[str, float](), set[str]()
    for path in _parts(files, job):
        table = pq.read_table(
            path, columns=["backend", "attempts"], use_threads=False, partitioning=None
        )
        rows.update(name for name in table.column("backend").to_pylist() if name is not None)
        for chunk in table.column("attempts").chunks:
            tried = chunk.flatten()
            columns = [tried.field(name).to_pylist() for name in ("backend", "cost_usd", "fault")]
            for backend, cost, fault in zip(*columns, strict=True):
                paid[backend] = paid.get(backend, 0.0) + (cost or 0.0)
                if cost is None and fault is None:
                    unknown.add(backend)
    return tuple(
        BackendShare(
            backend=name,
            rows=rows[name],
            cost_usd=None if name in unknown and not paid.get(name) else paid.get(name, 0.0),
        )
        for name in sorted({*rows, *paid})
    )


def _parts(files: JobFiles, job: Job) -> list[Path]:
    """The published parts of a job that is over, the newest of each chunk of one that is not."""
    manifest = read_manifest(files, job.generation) if job.state.is_terminal else None
    if manifest is not None:
        return [files.published(job.generation) / file.name for file in manifest.files]
    newest: dict[str, Path] = {}
    for path in sorted(files.parts.glob("*.parquet"), key=_epoch):
        newest[path.name.partition(".")[0]] = path
    return [newest[number] for number in sorted(newest)]


def _epoch(path: Path) -> int:
    return int(path.name.split(".")[1])
