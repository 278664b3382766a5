"""From a chunk in work to a finished part on disk, and the cleaning up after its commit.

Only the worker writes parts; only the commit of its lease makes one real.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from nightkiln.core import crashpoints
from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.chunk import Lease, Sealed
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
    return Sealed(sha256=sha256, size_bytes=size, totals=totals_of(table), spent=spent_on(attempts))


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
