"""Requests that nobody means: each is refused in words, none is a bug of the server's."""

from typing import Any

import pytest
from tests.unit.http.native.asking import Asking

ODD_BODIES: list[dict[str, Any]] = [
    {"input": {"from": "rows", "rows": []}},
    {"input": {"from": "rows", "rows": [1, None, {}]}},
    {"input": {"from": "rows", "rows": [{"": 1}]}},
    {"input": {"from": "rows", "rows": [{"a": 10**30}, {"a": "x"}]}, "prompt": {"template": "{b}"}},
    {"input": {"from": "rows", "rows": [[[[]]]]}},
    {"input": {"from": "file", "id": "file-nobody"}},
    {"input": {"from": "file", "id": "../../admin.key"}},
    {"input": {"from": "job", "id": "job_nobody"}},
    {"input": {"from": "url", "url": "file:///etc/passwd"}},
    {"input": {"from": "url", "url": "-"}},
    {"input": {"from": "nowhere"}},
    {"input": None},
    {"timeout_s": -1},
    {"concurrency": 10**30},
    {"caps": {"cost_usd": -1}},
    {"rpm": 0},
    {"limit": 0},
    {"delimiter": ""},
    {"encoding": "nonsense"},
    {"on_bad_row": "nonsense"},
    {"output_schema": 5},
    {"output_schema": {"type": "nonsense"}},
    {"prompt": {"columns": ["no such"]}},
    {"prompt": {"jinja": "{{ x"}},
    {"key": "plain-secret"},
    {"endpoint": "no such name"},
    {"endpoint": "http://"},
    {"more_endpoints": ["x"]},
    {"precision": "nonsense", "endpoint": None},
    {"task": "nonsense"},
    {"label": {"priority": "x"}},
    {"id_column": "no such"},
    {"input_format": "nonsense", "input": {"from": "rows", "rows": ["a"]}},
]


@pytest.mark.parametrize("odd", ODD_BODIES, ids=str)
@pytest.mark.parametrize("path", ["/jobs/plan", "/jobs/estimate", "/jobs"])
def test_an_odd_submission_is_no_bug(api: Asking, odd: dict[str, Any], path: str) -> None:
    said = api.ask("POST", path, {**api.new(["a"]), **odd})
    assert said.status < 500 or said.status == 503, said.body
    assert api.spooled() == []


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?after=nobody",
        "/jobs?limit=99999999999999999999",
        "/jobs?state=nonsense",
        "/jobs/%00",
        "/jobs/..%2F..",
        "/jobs/%F0%9F%8E%83/events?after=99999999999999999999",
        "/files?after=nobody",
        "/files/nobody/content",
        "/usage?first=nonsense",
        "/usage?first=0001-01-01",
        "/usage?last=0001-01-01",
    ],
)
def test_an_odd_question_is_no_bug(api: Asking, path: str) -> None:
    said = api.ask("GET", path)
    assert said.status < 500, said.body
