"""/api/docs: every route of the server on one page, which needs nothing but itself.

It is made from the OpenAPI and loads nothing, from here or from elsewhere: no script
of others may run on a page that stands beside keys. Tools read /api/openapi.json.
"""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

PATH: Final = "/api/docs"
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
router: Final = APIRouter()

_VERBS: Final = ("get", "post", "put", "patch", "delete")
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;"
    "margin:2rem auto;padding:0 1rem}code{font-size:.95em}summary{cursor:pointer}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.1rem 1rem .1rem 0;"
    "text-align:left;vertical-align:top}details{margin:.3rem 0}"
)


@router.get(PATH, include_in_schema=False)
async def show_docs(request: Request) -> Response:
    """Show every route on one page."""
    state = request.app.state
    if getattr(state, "docs_page", None) is None:
        state.docs_page = page_of(request.app.openapi())
    return HTMLResponse(state.docs_page)


def page_of(openapi: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document. Pure."""
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    groups: dict[str, list[str]] = {}
    for path, verbs in openapi.get("paths", {}).items():
        for verb in _VERBS:
            if verb in verbs:
                under = f"{_face(path)}: {', '.join(verbs[verb].get('tags', ['server']))}"
                groups.setdefault(under, []).append(_route(verb, path, verbs[verb]))
    parts = [f"<h2>{escape(name)}</h2>{''.join(routes)}" for name, routes in sorted(groups.items())]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        "<p>Send a key as <code>Authorization: Bearer KEY</code> or <code>x-api-key: KEY</code>."
        ' For tools: <a href="/api/openapi.json">openapi.json</a>.</p>'
        f"<main>{''.join(parts)}</main></body></html>"
    )


def _face(path: str) -> str:
    if path.startswith(("/anthropic/", "/v1/messages")):
        return "Anthropic's API"
    return "OpenAI's API" if path.startswith("/v1/") else "Our own API"


def _route(verb: str, path: str, said: Mapping[str, Any]) -> str:
    about = escape(str(said.get("description") or said.get("summary") or ""))
    rows = [_row(one) for one in said.get("parameters", ())]
    body = said.get("requestBody", {}).get("content", {})
    if body:
        rows.append(_line("the body", "body", ", ".join(body)))
    rows += [
        _line(status, "answer", str(one.get("description", "")))
        for status, one in said.get("responses", {}).items()
    ]
    return (
        f"<details><summary><code>{verb.upper()} {escape(path)}</code></summary>"
        f"<p>{about}</p><table>{''.join(rows)}</table></details>"
    )


def _row(parameter: Mapping[str, Any]) -> str:
    must = ", required" if parameter.get("required") else ""
    about = str(parameter.get("description", ""))
    return _line(str(parameter.get("name", "")), f"{parameter.get('in', '')}{must}", about)


def _line(name: str, where: str, about: str) -> str:
    return (
        f"<tr><th><code>{escape(name)}</code></th><td>{escape(where)}</td>"
        f"<td>{escape(about)}</td></tr>"
    )
