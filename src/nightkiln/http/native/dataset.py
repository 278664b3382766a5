"""/api/v1/jobs/ID/dataset: the results of an ended job as the Parquet files that they lie in."""

import asyncio
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from nightkiln.core.errors import NotFound
from nightkiln.http.access import Reader
from nightkiln.http.answers import json_answer
from nightkiln.http.native.bodies import made
from nightkiln.http.native.described import gives, gives_bytes
from nightkiln.service.naming import find_job
from nightkiln.service.results import dataset
from nightkiln.vault.durable import disk_errors, link
from nightkiln.vault.publish import Manifest

router: Final = APIRouter(tags=["rows"])
_PARQUET: Final = "application/vnd.apache.parquet"


@router.get("/jobs/{job_id}/dataset", **gives(Manifest))
async def get_manifest(job_id: str, caller: Reader) -> Response:
    """List the Parquet files of an ended job, in row order, each with its sha256."""
    job = await find_job(caller.context, job_id)
    manifest, _ = await dataset(caller.context, job)
    return json_answer(manifest)


@router.get("/jobs/{job_id}/dataset/{name}", **gives_bytes(_PARQUET))
async def get_part(job_id: str, name: str, caller: Reader) -> Response:
    """Download one of these files as it is."""
    job = await find_job(caller.context, job_id)
    manifest, folder = await dataset(caller.context, job)
    if name not in {file.name for file in manifest.files}:
        raise NotFound(f"job {job.id} has no file {name!r}")

    async def make(path: Path) -> None:
        with disk_errors("giving a file of results"):
            await asyncio.to_thread(link, folder / name, path)

    return await made(caller.context, make, media_type=_PARQUET, name=name, suffix=".parquet")
