import json
import subprocess
import sys

import pytest

from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint, url_of
from nightkiln.backends.registry import PROMPT_BACKENDS, prompt_backend
from nightkiln.backends.transport import Target
from nightkiln.core.errors import UsageError
from nightkiln.core.job import JobSpec, PromptSpec, Sampling, SourceSpec


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h:1/v1", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("https://h/openai/v1?api-version=2", "https://h/openai/v1/chat/completions?api-version=2"),
    ],
)
def test_requests_go_below_the_given_url(given: str, asked: str) -> None:
    assert url_of(given, "/chat/completions") == asked


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "localhost/v1",
        "ftp://h/v1",
        "http://",
        "http://h:99999/v1",
        "http://user:secret@h/v1",
        "http://h/v1/chat/completions",
        "http://h/v1\r\nx: y",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--endpoint") as caught:
        OpenAIEndpoint(EndpointSettings(url=url))
    assert "secret" not in caught.value.message.replace("leave secrets", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", "b\r\nx-c: d"), ("x a", "b"), ("Host", "h"), ("content-length", "1"), ("x", "ä")],
)
def test_a_header_that_would_change_the_request_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="--header"):
        OpenAIEndpoint(EndpointSettings(url="http://h/v1", headers={name: value}))


def test_a_credential_is_given_once() -> None:
    settings = EndpointSettings(
        url="http://h/v1", credential="sk-x", headers={"Authorization": "Bearer y"}
    )
    with pytest.raises(UsageError, match="authorization"):
        OpenAIEndpoint(settings)


def test_nothing_that_is_shown_holds_the_credential() -> None:
    settings = EndpointSettings(url="http://h/v1", credential="sk-hush", headers={"x-k": "sk-hush"})
    backend = OpenAIEndpoint(settings)
    target = Target("http://h/v1", {"authorization": "sk-hush"})
    assert "hush" not in repr(settings) + str(settings) + repr(backend) + backend.name + repr(
        target
    )


def test_the_name_tells_host_and_port() -> None:
    assert OpenAIEndpoint(EndpointSettings(url="http://h:81/v1")).name == "h:81"
    assert OpenAIEndpoint(EndpointSettings(url="http://h:81/v1", name="mine")).name == "mine"


def test_an_ipv6_host_stays_in_brackets() -> None:
    head = Target("http://[::1]:80/v1", {}).head
    assert b"\r\nhost: [::1]:80\r\n" in head


def test_the_encoder_speaks_for_the_job() -> None:
    source = SourceSpec(kind="csv", path="/x", name="x", size_bytes=1, sha256="")
    spec = JobSpec(
        source=source,
        prompt=PromptSpec(system="be kind"),
        model="m",
        sampling=Sampling(max_tokens=3),
    )
    body = json.loads(OpenAIEndpoint(EndpointSettings(url="http://h/v1")).encoder(spec)("hi"))
    assert body["max_tokens"] == 3
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("kind", sorted(PROMPT_BACKENDS))
def test_every_kind_of_backend_can_be_made(kind: str) -> None:
    assert callable(prompt_backend(kind))


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no backend kind") as caught:
        prompt_backend("carrier-pigeon")
    assert "openai" in caught.value.hint


def test_the_registry_imports_nothing_before_it_is_asked() -> None:
    code = "import sys; import nightkiln.backends.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"httptools", "genai_prices", "uvloop"} & set(done.stdout.split())
