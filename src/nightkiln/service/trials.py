"""What a trial of some rows showed, kept beside the job for whoever asks later or from elsewhere.

One small file, replaced whole. Nothing here asks a row.
"""

import asyncio

import msgspec

from nightkiln.core.errors import NotFound
from nightkiln.core.forecast import Trial
from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.vault.durable import disk_errors, write_bytes
from nightkiln.vault.home import JobFiles


def keep(files: JobFiles, trial: Trial) -> None:
    """Keep what a trial showed, in place of an earlier one. Raises DiskError."""
    with disk_errors("keeping what was tried"):
        write_bytes(files.trial, msgspec.json.encode(trial))


async def kept(context: Context, job: Job) -> Trial:
    """What the job's trial showed. Raises NotFound where there was none."""
    try:
        text = await asyncio.to_thread(context.files(job.id).trial.read_bytes)
    except FileNotFoundError:
        raise NotFound(
            f"no rows of job {job.id} were tried", hint="submit it with try_rows to begin with some"
        ) from None
    return msgspec.json.decode(text, type=Trial)
