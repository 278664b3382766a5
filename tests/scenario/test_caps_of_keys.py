"""A key with a cap of rows: nobody gets one row more asked with it, by any way in, all at once."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import Provider, until
from tests.serving import Said, Served, served

from nightkiln.core.access import KeyCaps

CAP = 100
OVER = ("succeeded", "completed_with_errors", "failed", "cancelled")
ENDS = ("completed", "failed", "expired", "cancelled")


@pytest.fixture
def server(tmp_path: Path, provider: Provider) -> Iterator[Served]:
    (tmp_path / "nightkiln.toml").write_text(
        f'[endpoints.here]\nurl = "{provider.url}"\nmodels = ["m", "n"]\n'
    )
    with served(tmp_path / "home", work=True) as found:
        yield found


def capped(server: Served, rows: int = CAP) -> str:
    return server.new_key(caps=KeyCaps(rows=rows))


def post(server: Served, path: str, body: object, key: str | None = None) -> Said:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask(
        "POST",
        path,
        data,
        key=key,
        content_type="application/json",
        anthropic_version="2026-10-21",
    )


def submit(server: Served, source: object, key: str | None = None) -> Said:
    wanted = {"input": source, "model": "m", "prompt": {"template": "Say {text}"}}
    return post(server, "/api/v1/jobs", wanted, key)


def rows_of(name: str, count: int) -> dict[str, Any]:
    return {"from": "rows", "rows": [{"text": f"{name} {n}"} for n in range(count)]}


def uploaded(server: Served, name: str, count: int, key: str | None = None) -> dict[str, str]:
    lines = "text\n" + "".join(f"{name} {n}\n" for n in range(count))
    path = f"/api/v1/files?name={name}.csv"
    said = server.ask("PUT", path, lines.encode(), key=key)
    assert said.status == 201, said.body
    return {"from": "file", "id": said.json["id"]}


def ended(server: Served, job: str) -> dict[str, Any]:
    path = f"/api/v1/jobs/{job}"
    until(lambda: server.get(path).json["state"] in OVER)
    found: dict[str, Any] = server.get(path).json
    return found


def openai_batch(server: Served, name: str, count: int, key: str) -> Said:
    url = "/v1/chat/completions"
    lines = "".join(
        json.dumps(
            {
                "custom_id": f"{n}",
                "method": "POST",
                "url": url,
                "body": {"model": "m", "messages": [{"role": "user", "content": f"{name} {n}"}]},
            }
        )
        + "\n"
        for n in range(count)
    )
    part = "--e\r\ncontent-disposition: form-data; name="
    form = (
        f'{part}"purpose"\r\n\r\nbatch\r\n{part}"file"; filename="a.jsonl"\r\n\r\n{lines}\r\n--e--'
    )
    mime = "multipart/form-data; boundary=e"
    file = server.ask("POST", "/v1/files", form.encode(), key=key, content_type=mime)
    assert file.status == 200, file.body
    wanted = {"input_file_id": file.json["id"], "endpoint": url, "completion_window": "24h"}
    return post(server, "/v1/batches", wanted, key)


def anthropic_batch(server: Served, name: str, count: int, key: str) -> Said:
    requests = [
        {
            "custom_id": f"{n}",
            "params": {
                "model": "mn"[n % 2],
                "max_tokens": 9,
                "messages": [{"role": "user", "content": f"{name} {n}"}],
            },
        }
        for n in range(count)
    ]
    return post(server, "/v1/messages/batches", {"requests": requests}, key)


def all_over(server: Served) -> bool:
    page = server.get("/api/v1/jobs?limit=100").json
    return all(job["state"] in OVER for job in page["data"])


def test_all_ways_in_at_once_stay_under_the_cap_together(
    server: Served, provider: Provider
) -> None:
    first = submit(server, rows_of("earlier", 40))
    assert ended(server, first.json["job"]["id"])["state"] == "succeeded"
    asked, key = provider.requests, capped(server)
    files = [uploaded(server, f"file{n}", 40, key) for n in range(2)]
    earlier = {"from": "job", "id": first.json["job"]["id"]}
    ways = [
        lambda: openai_batch(server, "o1", 40, key),
        lambda: openai_batch(server, "o2", 40, key),
        lambda: anthropic_batch(server, "a1", 40, key),
        lambda: anthropic_batch(server, "a2", 40, key),
        lambda: submit(server, rows_of("r1", 40), key),
        lambda: submit(server, files[0], key),
        lambda: submit(server, files[1], key),
        lambda: submit(server, earlier, key),
    ]
    with ThreadPoolExecutor(len(ways)) as pool:
        said = [one.result() for one in [pool.submit(way) for way in ways]]
    assert {one.status for one in said} <= {200, 201, 429}
    until(lambda: all_over(server))
    assert provider.requests - asked == 80  # two of them; a third one would be past the cap


def test_exactly_the_cap_is_asked_and_not_one_row_more(server: Served, provider: Provider) -> None:
    key = capped(server)
    made = submit(server, uploaded(server, "all", CAP, key), key)
    assert ended(server, made.json["job"]["id"])["state"] == "succeeded"
    assert submit(server, rows_of("one", 1), key).status == 429
    assert submit(server, uploaded(server, "more", 1, key), key).status == 429
    assert openai_batch(server, "one", 1, key).json["error"]["code"] == "insufficient_quota"
    assert anthropic_batch(server, "one", 1, key).status == 429
    # The same again asks nobody anything, and so is answered.
    again = submit(server, uploaded(server, "all", CAP, key), key)
    assert (again.status, again.json["how"]) == (200, "finished")
    assert provider.requests == CAP


def test_a_file_past_the_cap_fails_in_words_and_asks_nothing(
    server: Served, provider: Provider
) -> None:
    key = capped(server)
    made = submit(server, uploaded(server, "large", CAP + 1, key), key)
    found = ended(server, made.json["job"]["id"])
    assert (found["state"], provider.requests) == ("failed", 0)
    assert "cap of 100 rows" in found["reason"]
    assert openai_batch(server, "large", CAP + 1, key).status == 429
    whole = submit(server, uploaded(server, "fits", CAP, key), key)
    assert ended(server, whole.json["job"]["id"])["state"] == "succeeded"


def test_a_retry_and_a_resume_are_held_to_the_cap(server: Served, provider: Provider) -> None:
    poison = {"from": "rows", "rows": [{"text": f"__poison__ {n}"} for n in range(30)]}
    key = capped(server, 50)
    made = submit(server, poison, key)
    job = made.json["job"]["id"]
    assert ended(server, job)["state"] == "completed_with_errors"
    asked = provider.requests
    assert post(server, f"/api/v1/jobs/{job}/retry", {}, key).status == 429
    assert submit(server, rows_of("rest", 20), key).status == 201
    until(lambda: all_over(server))
    assert provider.requests - asked == 20

    provider.slow(500)
    before = provider.requests
    name = submit(server, rows_of("others", 600)).json["job"]["id"]
    until(lambda: provider.requests > before)
    assert post(server, f"/api/v1/jobs/{name}/pause", b"").status == 200
    until(lambda: server.get(f"/api/v1/jobs/{name}").json["state"] == "paused")
    provider.slow(0)
    before = provider.requests
    said = post(server, f"/api/v1/jobs/{name}/resume", {}, key)
    assert said.status == 429, said.body
    assert provider.requests == before
