"""/api/v1/files: tables for jobs, sent as they are."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nightkiln.core.files import FileId, Purpose
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.downloads import download
from nightkiln.http.native.described import TAKES_BYTES, gives, gives_file
from nightkiln.http.native.jobs import Limit
from nightkiln.service import files
from nightkiln.service.api import Deleted, FileObject, Page, file_object
from nightkiln.service.files import NewFile
from nightkiln.store import paging

router: Final = APIRouter(tags=["files"])
_YEAR_S: Final = 366 * 86_400


@router.put("/files", status_code=201, openapi_extra=TAKES_BYTES, **gives(FileObject, status=201))
async def put_file(
    request: Request,
    caller: Writer,
    parts: Serving,
    name: Annotated[str, Query(min_length=1, max_length=255, description="tells the format")],
    lives_s: Annotated[float | None, Query(gt=0, le=_YEAR_S, description="then it goes")] = None,
) -> Response:
    """Upload a file: the body is its bytes."""
    new = NewFile(name=name, purpose=Purpose.USER_DATA, live_s=lives_s)
    most = parts.settings.max_upload_bytes
    made = await files.receive(caller.context, new, request.stream(), most=most)
    return json_answer(file_object(made), status=201)


@router.get("/files", **gives(Page[FileObject]))
async def list_files(
    caller: Reader, limit: Limit = 100, after: Annotated[str | None, Query()] = None
) -> Response:
    """List files, the newest first."""
    page = paging.Page(limit=limit, after=after)
    found, more = await files.pages(caller.context, page)
    last = found[-1].id if more and found else None
    return json_answer(Page(data=tuple(map(file_object, found)), has_more=more, after=last))


@router.get("/files/{file_id}", **gives(FileObject))
async def get_file(file_id: str, caller: Reader) -> Response:
    """Describe a file."""
    return json_answer(file_object(await files.get(caller.context, FileId(file_id))))


@router.get("/files/{file_id}/content", **gives_file())
async def get_content(file_id: str, request: Request, caller: Reader) -> Response:
    """Download a file, or a range of it."""
    return await download(await files.open_file(caller.context, FileId(file_id)), request.headers)


@router.delete("/files/{file_id}", **gives(Deleted))
async def delete_file(file_id: str, caller: Writer) -> Response:
    """Delete a file. Jobs that read it go on."""
    await files.delete(caller.context, FileId(file_id))
    return json_answer(Deleted(id=file_id))
