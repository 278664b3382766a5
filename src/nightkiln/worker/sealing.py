"""From a chunk in work to a finished part on disk, and the cleaning up after its commit.

Only the worker writes parts; only the commit of its lease makes one real.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pyarrow as pa

from nightkiln.core import crashpoints
from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.chunk import Lease, Sealed
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.vault.durable import disk_errors, fsync_dir
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import spent_on, table_of, totals_of, write_part


def seal(
    files: JobFiles,
    lease: Lease,
    *,
    answers: Sequence[Answer],
    attempts: Sequence[Attempt],
    ids: Mapping[int, str],
    base: pa.Table | None,
) -> Sealed:
    """Write the part of a chunk: the base's rows and this generation's answers.

    `attempts` are all of this generation, those of unanswered rows included.
    Raises DiskError. Safe to repeat: the same epoch writes the same file.
    """
    table = table_of(answers, ids)
    if base is not None and base.num_rows:
        table = pa.concat_tables([base, table]).sort_by("row")
    path = files.part(lease.chunk.number, lease.chunk.epoch)
    sha256, size = write_part(path, table)
    totals = _with_savings(totals_of(table), lease.chunk.totals, answers)
    spent = spent_on(attempts)
    return Sealed(
        sha256=sha256,
        size_bytes=size,
        totals=totals,
        spent=spent,
        by_backend=_by_backend(answers, attempts, spent),
    )


def _by_backend(
    answers: Sequence[Answer], attempts: Sequence[Attempt], spent: Totals
) -> tuple[tuple[str, Totals], ...]:
    """What was spent and answered where, for the ledger.

    A row that a retry answers anew counts again, as its attempts do: the ledger
    only grows. Reused rows, which no backend answered, are under "".
    """
    names = {attempt.backend for attempt in attempts}
    rows = Counter(_kind(answer) for answer in answers)
    answered = sorted(names | {name for name, _, _ in rows})
    return tuple(
        (
            name,
            msgspec.structs.replace(
                spent if names == {name} else spent_on(a for a in attempts if a.backend == name),
                ok=rows[name, True, False] + rows[name, True, True],
                failed=rows[name, False, False],
                reused=rows[name, True, True],
            ),
        )
        for name in answered
    )


def _kind(answer: Answer) -> tuple[str, bool, bool]:
    """Who answered, whether with a result, and whether it was reused."""
    last = answer.last
    return last.backend if last else "", answer.fault is None, answer.reused


def _with_savings(totals: Totals, before: Totals, answers: Iterable[Answer]) -> Totals:
    """The counts of a part with what its reused rows saved, which no column of it says.

    A reused row is never a fault, so all that the base has saved stays.
    """
    saved = [answer.saved for answer in answers if answer.saved is not None]
    nanos = sum(round((one.cost_usd or 0.0) * NANOS_PER_USD) for one in saved)
    return msgspec.structs.replace(
        totals,
        saved_tokens=before.saved_tokens + sum(one.tokens for one in saved),
        saved_nanos=before.saved_nanos + nanos,
        saved_unpriced=before.saved_unpriced + sum(one.cost_usd is None for one in saved),
    )


def clean(files: JobFiles, lease: Lease) -> None:
    """Remove a committed chunk's journals and the parts its commit replaced.

    Published results keep their own names for the same files, so nothing that
    is public goes.
    """
    chunk = lease.chunk
    with disk_errors("removing journals"):
        for epoch, path in files.journals_of(chunk.number):
            if epoch <= chunk.epoch:
                path.unlink(missing_ok=True)
        for path in files.parts.glob(f"{chunk.number:05d}.*.parquet"):
            if int(path.name.split(".")[1]) < chunk.epoch:
                path.unlink(missing_ok=True)
        fsync_dir(files.journal)
    crashpoints.reach("journal.removed")
