"""Templates and the answers they become. Everything that is not ours is escaped, always."""

from pathlib import Path
from typing import Final

import jinja2
import msgspec
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_templates: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around every page of somebody who is signed in."""

    project: str
    way_out: str  # what the form for signing out carries; empty: there is no session


def drawn(template: str, *, status: int = 200, **values: object) -> Response:
    """A page. Scripts and styles come from files of ours only, whatever the page says."""
    text = _templates.get_template(template).render(values)
    headers = {"content-security-policy": _POLICY, "cache-control": "no-store"}
    return Response(text, status, headers=headers, media_type="text/html; charset=utf-8")
