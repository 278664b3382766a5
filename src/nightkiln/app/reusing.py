"""Whether a run's rows may have the answers of identical ones, and the cache behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nightkiln.app.parts import Crew
from nightkiln.backends.spoken import encoder_of
from nightkiln.core.job import Job
from nightkiln.core.reuse import CacheUse
from nightkiln.plan.settled import Settled, is_worthwhile
from nightkiln.service.context import Context
from nightkiln.service.manner import reuse_wanted
from nightkiln.store.cache import AnswerCache
from nightkiln.store.cachefile import CacheState, remove, state_of
from nightkiln.vault.home import Home
from nightkiln.worker.reusing import KEY_BYTES, Reuse, View


@asynccontextmanager
async def reusing(context: Context, job: Job, crew: Crew) -> AsyncIterator[Reuse | None]:
    """What this run may share, as it was last said for the job; None where that is nothing."""
    dedupe, use = await reuse_wanted(context, job.id)
    if not is_worthwhile(job.spec, dedupe):
        yield None
        return
    cache = None
    if use is not CacheUse.OFF:
        cache = await asyncio.to_thread(AnswerCache, context.home.cache, crew.cache)
    try:
        yield Reuse(
            Settled(job.spec, dedupe),
            encode=encoder_of(crew.backend, job.spec),
            scope=await asyncio.to_thread(_scope, context, job, crew),
            secret=context.entropy(KEY_BYTES) if cache is None else cache.secret,
            view=None if cache is None else _view(cache, job, use),
        )
    finally:
        if cache is not None:
            await asyncio.to_thread(cache.close)


def _view(cache: AnswerCache, job: Job, use: CacheUse) -> View:
    since = job.created_at if use is CacheUse.REFRESH else 0.0
    return View(answers=cache, since=since, with_bodies=job.spec.keep_bodies)


def cache_state(root: Path) -> CacheState:
    """What the answer cache of a home holds. Raises nothing."""
    return state_of(Home(root).cache)


def clear_cache(root: Path) -> int:
    """Delete the answer cache of a home, in use or not; how many bytes that were."""
    return remove(Home(root).cache)


def _scope(context: Context, job: Job, crew: Crew) -> bytes:
    """Who answers, and for whom: two servers may know different models by one name."""
    said = [context.project, str(job.spec.task), job.spec.model, *_places(crew)]
    if crew.model_file is not None:
        said += [crew.order.precision, *_identity(crew.model_file)]
    return "\0".join(said).encode()


def _places(crew: Crew) -> list[str]:
    """Where the answers come from; two keys of one endpoint are one place."""
    places = {(one.order.endpoint or "", one.model_there or "") for one in (crew, *crew.others)}
    return [f"{endpoint}\n{model}" if model else endpoint for endpoint, model in sorted(places)]


def _identity(model: Path) -> list[str]:
    """A model's file, or the files of its folder, as far as a look at them tells."""
    files = sorted(model.iterdir()) if model.is_dir() else [model]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in found]
