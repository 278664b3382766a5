"""Finding the job that a person means."""

from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.store import jobs
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx

LAST = "last"


async def find_job(context: Context, name: str) -> Job:
    """A job by its id, by the beginning of one that fits no other, or `last`.

    Raises NotFound, and UsageError for a beginning that fits several.
    """

    async def query(tx: Tx) -> Job:
        if name == LAST:
            newest, _ = await jobs.list_jobs(tx, Page(limit=1), project=context.project)
            if not newest:
                raise NotFound("there are no jobs yet", hint="nightkiln run INPUT -o OUTPUT ...")
            return newest[0]
        found = await jobs.by_prefix(tx, name, project=context.project) if name else []
        if len(found) > 1 and found[0].id != name:
            raise UsageError(
                f"{name} fits several jobs, {found[0].id} and {found[1].id} among them",
                hint="give more of the id",
            )
        return found[0] if found else await jobs.get(tx, JobId(name), project=context.project)

    return await context.store.read(query)
