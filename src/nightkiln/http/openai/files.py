"""/v1/files: bytes in as a form, out as they are, with OpenAI's words around them."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from nightkiln.core.errors import InputError, NotFound
from nightkiln.core.files import FileId, Purpose
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.described import download_answers
from nightkiln.http.downloads import download
from nightkiln.http.errors import Refuse
from nightkiln.http.multipart import Form
from nightkiln.http.openai.described import (
    FILE,
    FILE_DELETED,
    FILE_FORM,
    FILE_LIST,
    FILES_PAGE,
)
from nightkiln.http.openai.shaping import file_object, good, page_object
from nightkiln.service import files
from nightkiln.service.files import NewFile
from nightkiln.store.paging import Page
from nightkiln.vault.arrivals import TOO_LARGE
from nightkiln.wire.openai import orders
from nightkiln.wire.openai.objects import FileDeleted
from nightkiln.wire.openai.orders import FileOrder
from nightkiln.wire.openai.refusals import no_such_file, too_large

router: Final = APIRouter(tags=["OpenAI: files"])
_PURPOSES: Final = frozenset(str(one) for one in Purpose)


@router.post("/files", openapi_extra=FILE_FORM, responses=FILE)
async def create_file(request: Request, caller: Writer, parts: Serving) -> Response:
    """Upload a file."""
    most = parts.settings.max_upload_bytes
    form = Form(request, "file")
    try:
        async with files.begin(caller.context, most=most) as incoming:
            async for piece in form.pieces():
                await incoming.append(piece)
            order = good(orders.read_file_order(form.fields, form.filename))
            made = await incoming.finish(new_file(order))
    except InputError as error:
        raise larger_than(most, error) from error
    return json_answer(file_object(made))


@router.get("/files", openapi_extra=FILE_LIST, responses=FILES_PAGE)
async def list_files(request: Request, caller: Reader, parts: Serving) -> Response:
    """List files, the newest first unless asked otherwise."""
    asked = good(orders.read_listing(request.query_params, orders.FILES))
    if asked.purpose is not None and asked.purpose not in _PURPOSES:
        return json_answer(page_object([], more=False))
    page = Page(
        limit=min(asked.limit, parts.settings.page_limit),
        after=asked.after,
        oldest_first=not asked.descending,
    )
    purpose = None if asked.purpose is None else Purpose(asked.purpose)
    try:
        found, more = await files.pages(caller.context, page, purpose=purpose)
    except NotFound as error:
        raise Refuse(no_such_file(asked.after or "")) from error
    return json_answer(page_object([file_object(file) for file in found], more=more))


@router.get("/files/{file_id}", responses=FILE)
async def get_file(file_id: str, caller: Reader) -> Response:
    """Describe a file."""
    try:
        return json_answer(file_object(await files.get(caller.context, FileId(file_id))))
    except NotFound as error:
        raise Refuse(no_such_file(file_id)) from error


@router.delete("/files/{file_id}", responses=FILE_DELETED)
async def delete_file(file_id: str, caller: Writer) -> Response:
    """Delete a file. Batches that read it go on."""
    try:
        await files.delete(caller.context, FileId(file_id))
    except NotFound as error:
        raise Refuse(no_such_file(file_id)) from error
    return json_answer(FileDeleted(id=file_id))


@router.get("/files/{file_id}/content", responses=download_answers())
async def get_content(file_id: str, request: Request, caller: Reader) -> Response:
    """Download a file, or a range of it."""
    try:
        opened = await files.open_file(caller.context, FileId(file_id))
    except NotFound as error:
        raise Refuse(no_such_file(file_id)) from error
    return await download(opened, request.headers)


def new_file(order: FileOrder) -> NewFile:
    """A file as the service takes it."""
    return NewFile(
        name=order.filename, purpose=Purpose(order.purpose), live_s=order.expires_after_s
    )


def larger_than(most: int, error: InputError) -> Exception:
    """The refusal of a file that has too many bytes; another error as it is."""
    return Refuse(too_large("The file", most)) if error.reason == TOO_LARGE else error
