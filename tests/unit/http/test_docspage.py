"""/api/docs: every route on a page that loads nothing, and that no text can break out of."""

import html
import re

from tests.serving import Served

from nightkiln.http.docspage import page_of


def test_the_page_names_every_route_and_loads_nothing(server: Served) -> None:
    said = server.get("/api/docs", key="")
    assert (said.status, said.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = html.unescape(said.body.decode())
    for path, verbs in server.get("/api/openapi.json", key="").json["paths"].items():
        for verb in verbs:
            assert f"<code>{verb.upper()} {path}</code>" in page
    assert re.findall(r"<(script|img|link|iframe)|src=|@import|url\(|https?://", page) == []
    policy = said.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "script-src" not in policy


def test_what_routes_say_of_themselves_is_text() -> None:
    nasty = "<script>x</script>"
    route = {
        "description": nasty,
        "tags": [nasty],
        "parameters": [{"name": nasty, "in": nasty, "description": nasty, "required": True}],
        "requestBody": {"content": {nasty: {}}},
        "responses": {"200": {"description": nasty}},
    }
    info = {"title": nasty, "version": nasty}
    page = page_of({"info": info, "paths": {f"/{nasty}": {"get": route}}})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
