"""/api/v1/keys: API keys of the caller's project, for admins; and links to the pages."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nightkiln.core.access import KeyId
from nightkiln.http.access import SIGN_IN, Admin, Reader, Serving
from nightkiln.http.answers import json_answer
from nightkiln.http.native.bodies import body_of
from nightkiln.http.native.described import gives, takes
from nightkiln.http.native.jobs import Limit
from nightkiln.http.sessions import LINK_S
from nightkiln.service import keys
from nightkiln.service.api import KeyObject, KeyWanted, Page, Rotating, SignInLink, key_object
from nightkiln.service.keys import KeyWish
from nightkiln.store import paging

router: Final = APIRouter(tags=["keys"])


@router.post(
    "/keys", status_code=201, openapi_extra=takes(KeyWanted), **gives(KeyObject, status=201)
)
async def create_key(request: Request, caller: Admin) -> Response:
    """Make a key for the project, or for the one that is named. Its text is shown only here."""
    said = await body_of(request, KeyWanted)
    wish = KeyWish(
        name=said.name,
        scope=said.scope,
        project=said.project or caller.project,
        lives_s=said.lives_s,
        caps=said.caps,
    )
    made = await keys.create(caller.context, wish)
    return json_answer(key_object(made.key, made.text), status=201)


@router.get("/keys", **gives(Page[KeyObject]))
async def list_keys(
    caller: Admin,
    everyone: Annotated[bool, Query(description="those of all projects")] = False,
    limit: Limit = 100,
    after: Annotated[str | None, Query(description="the last one of the page before")] = None,
) -> Response:
    """List keys, the newest first, revoked ones too."""
    page = paging.Page(limit=limit, after=after)
    found, more = await keys.pages(caller.context, page, everyone=everyone)
    last = found[-1].id if more and found else None
    return json_answer(Page(data=tuple(map(key_object, found)), has_more=more, after=last))


@router.post(
    "/keys/{key_id}/rotate", openapi_extra=takes(Rotating, required=False), **gives(KeyObject)
)
async def rotate_key(key_id: str, request: Request, caller: Admin) -> Response:
    """Make a key like this one, which ends now or after an overlap."""
    said = await body_of(request, Rotating, empty=Rotating())
    made = await keys.rotate(caller.context, KeyId(key_id), overlap_s=said.overlap_s)
    return json_answer(key_object(made.key, made.text))


@router.post("/keys/link", **gives(SignInLink))
async def make_link(caller: Reader, parts: Serving) -> Response:
    """Make a link that signs a browser in to the pages, once, with the key that asks for it."""
    token = parts.sessions.new_link(caller.key.sha256, now=parts.clock())
    return json_answer(SignInLink(path=f"{SIGN_IN}/{token}", lives_s=LINK_S))


@router.delete("/keys/{key_id}", **gives(KeyObject))
async def revoke_key(key_id: str, caller: Admin) -> Response:
    """End a key now. It stays on record."""
    return json_answer(key_object(await keys.revoke(caller.context, KeyId(key_id))))
