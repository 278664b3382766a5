"""/v1/uploads: a file in parts, in any order, joined in the order that the end names."""

from contextlib import aclosing
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from nightkiln.core.errors import InputError, NotFound
from nightkiln.core.files import UploadId
from nightkiln.http.access import Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.errors import Refuse
from nightkiln.http.multipart import Form
from nightkiln.http.openai.described import (
    PART_FORM,
    UPLOAD,
    UPLOAD_BODY,
    UPLOAD_END_BODY,
    UPLOAD_PART,
)
from nightkiln.http.openai.files import larger_than, new_file
from nightkiln.http.openai.shaping import good, upload_object
from nightkiln.service import uploads
from nightkiln.service.uploads import NewUpload
from nightkiln.wire.openai import orders
from nightkiln.wire.openai.objects import UploadPart
from nightkiln.wire.openai.refusals import Refusal, no_such_upload, upload_closed

router: Final = APIRouter(tags=["OpenAI: uploads"])
_CLOSED: Final = "upload_"
_PARAMS: Final = {"part_not_found": "part_ids", "size_mismatch": "bytes", "md5_mismatch": "md5"}


@router.post("/uploads", openapi_extra=UPLOAD_BODY, responses=UPLOAD)
async def create_upload(request: Request, caller: Writer, parts: Serving) -> Response:
    """Begin a file that comes in parts."""
    most = parts.settings.max_upload_bytes
    order = good(orders.read_upload_order(await request.body(), most=most))
    new = NewUpload(file=new_file(order.file), mime_type=order.mime_type, size_bytes=order.size)
    return json_answer(upload_object(await uploads.begin(caller.context, new)))


@router.post("/uploads/{upload_id}/parts", openapi_extra=PART_FORM, responses=UPLOAD_PART)
async def add_part(upload_id: str, request: Request, caller: Writer, parts: Serving) -> Response:
    """Add a part."""
    most = parts.settings.max_upload_bytes
    form = Form(request, "data")
    try:
        async with aclosing(form.pieces()) as pieces:
            part = await uploads.add_part(caller.context, UploadId(upload_id), pieces, most=most)
    except (NotFound, InputError) as error:
        raise _refusal(upload_id, error, most) from error
    said = UploadPart(id=part.id, created_at=int(part.created_at), upload_id=upload_id)
    return json_answer(said)


@router.post("/uploads/{upload_id}/complete", openapi_extra=UPLOAD_END_BODY, responses=UPLOAD)
async def complete_upload(
    upload_id: str, request: Request, caller: Writer, parts: Serving
) -> Response:
    """Join the parts to a file."""
    end = good(orders.read_upload_end(await request.body()))
    try:
        done, file = await uploads.complete(
            caller.context, UploadId(upload_id), end.part_ids, md5=end.md5
        )
    except (NotFound, InputError) as error:
        raise _refusal(upload_id, error, parts.settings.max_upload_bytes) from error
    return json_answer(upload_object(done, file))


@router.post("/uploads/{upload_id}/cancel", responses=UPLOAD)
async def cancel_upload(upload_id: str, caller: Writer, parts: Serving) -> Response:
    """Give an upload up."""
    try:
        ended = await uploads.cancel(caller.context, UploadId(upload_id))
    except (NotFound, InputError) as error:
        raise _refusal(upload_id, error, parts.settings.max_upload_bytes) from error
    return json_answer(upload_object(ended))


def _refusal(upload_id: str, error: NotFound | InputError, most: int) -> Exception:
    """Why an upload takes something not."""
    if isinstance(error, NotFound):
        return Refuse(no_such_upload(upload_id))
    if error.reason.startswith(_CLOSED):
        return Refuse(upload_closed(upload_id, error.reason.removeprefix(_CLOSED)))
    if error.reason in _PARAMS:
        said = error.message[:1].upper() + error.message[1:] + "."
        param = _PARAMS[error.reason]
        return Refuse(Refusal(status=400, message=said, param=param, code="invalid_value"))
    return larger_than(most, error)
