"""Signing in and out, and the files that make pages look like pages. Open to everybody.

A form is good only from a browser that was given the cookie it was made for, so no
other site can sign anybody in or out. A key that was pasted is never shown again.
"""

import re
from typing import Annotated, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from nightkiln.http.access import SIGN_IN, Reader, Serving
from nightkiln.http.parts import Parts
from nightkiln.http.sessions import SESSION_S, cookie_in, cookie_name
from nightkiln.service.keys import hash_of
from nightkiln.store import keys
from nightkiln.web.drawing import FOLDER, drawn

router: Final = APIRouter(include_in_schema=False)
_FORM: Final = "nightkiln-form"
_FORM_S: Final = 3600
_IN: Final = "sign-in"
_OUT: Final = "sign-out"
_BACK: Final = re.compile(r"/|/jobs/\w{1,100}")
_KEY: Final = re.compile(r"nk_[\w-]{1,100}")
_USED: Final = "That link was used already, or is older than ten minutes."
_STRANGE: Final = "That form did not come from this page, or is too old. Try again."
_BAD: Final = "That key is not good here."
_FILES: Final = {
    "nightkiln.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
}


@router.get(SIGN_IN)
async def ask(request: Request, parts: Serving) -> Response:
    """The page where one signs in."""
    return _form(request, parts, back=request.query_params.get("next", "/"))


@router.post(SIGN_IN)
async def sign_in(request: Request, parts: Serving) -> Response:
    """Take a key, and give a session for it."""
    said = await _said(request)
    back, text, now = said.get("next", "/"), said.get("key", "").strip(), parts.clock()
    if not parts.sessions.proves(said.get("proof", ""), _IN, _cookie(request, _FORM)):
        return _form(request, parts, back=back, trouble=_STRANGE, status=403)
    key = None
    if _KEY.fullmatch(text):
        key = await parts.store.read(lambda tx: keys.by_sha256(tx, hash_of(text)))
    if key is None or not key.is_good(now):
        return _form(request, parts, back=back, trouble=_BAD, status=401)
    return _signed_in(parts, key.sha256, back=_checked(back))


@router.get(SIGN_IN + "/{token}")
async def follow_link(
    request: Request, parts: Serving, token: Annotated[str, Path(max_length=200)]
) -> Response:
    """Use a link up, and give a session for it."""
    sha256 = parts.sessions.take_link(token, now=parts.clock())
    if sha256 is None:
        return _form(request, parts, back="/", trouble=_USED, status=403)
    return _signed_in(parts, sha256, back="/")


@router.post("/sign-out")
async def sign_out(request: Request, _caller: Reader, parts: Serving) -> Response:
    """End the session."""
    token = _session(request, parts)
    said = await _said(request)
    if not parts.sessions.proves(said.get("proof", ""), _OUT, token):
        raise HTTPException(403)
    parts.sessions.end(token)
    answer = RedirectResponse(SIGN_IN, 303)
    name = cookie_name(secure=parts.settings.secure)
    answer.delete_cookie(name, secure=parts.settings.secure, httponly=True, samesite="strict")
    return answer


@router.get("/static/{name}")
async def static_file(name: str) -> Response:
    """A file of ours; there are no others."""
    if name not in _FILES:
        raise HTTPException(404)
    body = (FOLDER / "static" / name).read_bytes()
    return Response(body, headers={"cache-control": "max-age=300"}, media_type=_FILES[name])


def way_out(request: Request, parts: Parts) -> str:
    """What the form for signing out carries; empty for who came with a key."""
    token = _session(request, parts)
    return parts.sessions.proof(_OUT, token) if token else ""


def _form(
    request: Request, parts: Parts, *, back: str, trouble: str = "", status: int = 200
) -> Response:
    """The sign-in page, with a proof that belongs to a cookie."""
    token = _cookie(request, _FORM) or parts.sessions.new_token()
    answer = drawn(
        "sign_in.html",
        status=status,
        back=_checked(back),
        trouble=trouble,
        proof=parts.sessions.proof(_IN, token),
    )
    answer.set_cookie(
        _FORM,
        token,
        max_age=_FORM_S,
        path=SIGN_IN,
        secure=parts.settings.secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def _signed_in(parts: Parts, sha256: str, *, back: str) -> Response:
    answer = RedirectResponse(back, 303, headers={"cache-control": "no-store"})
    answer.set_cookie(
        cookie_name(secure=parts.settings.secure),
        parts.sessions.begin(sha256, now=parts.clock()),
        max_age=int(SESSION_S),
        secure=parts.settings.secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def _checked(back: str) -> str:
    """Where to go after signing in: to a page of ours only."""
    return back if _BACK.fullmatch(back) else "/"


async def _said(request: Request) -> dict[str, str]:
    """The fields of a form, each once. The body is bounded before it gets here."""
    text = (await request.body()).decode("ascii", errors="replace")
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=10).items()}
    except ValueError:
        return {}


def _session(request: Request, parts: Parts) -> str:
    return _cookie(request, cookie_name(secure=parts.settings.secure))


def _cookie(request: Request, name: str) -> str:
    return cookie_in(request.headers.get("cookie", ""), name)
