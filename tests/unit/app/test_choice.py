"""Which backend answers: what was named, else the pilot, and nothing that was only seen."""

import socket
from pathlib import Path

import pytest

from nightkiln.app import choice
from nightkiln.app.choice import PILOT, choose
from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec, Task
from nightkiln.service.orders import Order


def order(**named: object) -> Order:
    return Order(input="t.csv", output=None, prompt=PromptSpec(), **{"model": None, **named})  # type: ignore[arg-type]


def test_an_endpoint_is_used_when_it_is_named() -> None:
    chosen = choose(order(endpoint="http://127.0.0.1:1/v1", model="m"), {})
    assert (chosen.kind, chosen.model, chosen.notices) == ("openai", "m", ())


@pytest.mark.parametrize(
    "model", ["./a.gguf", "/models/a", "hf:org/repo", "b.gguf", "B.GGUF", "~/m"]
)
def test_a_model_file_runs_in_this_process(model: str) -> None:
    assert choose(order(model=model), {}).kind == "openvino"


def test_a_folder_here_runs_when_it_holds_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enc").mkdir()
    with pytest.raises(UsageError, match=r"enc holds no openvino_model\.xml"):
        choose(order(model="enc"), {})
    (tmp_path / "enc" / "openvino_model.xml").touch()
    assert choose(order(model="enc"), {}).why == (
        "a model folder, named by --model (embedded openvino engine)"
    )


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"endpoint": "http://127.0.0.1:1/v1"}, "--endpoint needs --model"),
        ({"model": "gpt-x"}, "--model gpt-x needs --endpoint"),
        ({"key": "env:X"}, "are for an endpoint"),
        ({"headers": (("a", "b"),)}, "are for an endpoint"),
    ],
)
def test_half_a_backend_is_refused(named: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose(order(**named), {})


def test_keys_and_servers_that_are_seen_are_named_and_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(choice, "_SERVERS", {port: "a server"})
        chosen = choose(order(), {"OPENAI_API_KEY": "sk-secret"})
    said = " ".join(chosen.notices)
    assert (chosen.kind, chosen.model) == ("openvino", PILOT)
    assert "the key OPENAI_API_KEY" in said
    assert f"a server at port {port}" in said
    assert "sk-secret" not in said


@pytest.mark.parametrize("model", [None, PILOT])
def test_the_pilot_is_never_asked_for_embeddings(model: str | None) -> None:
    with pytest.raises(UsageError, match="pilot makes no embeddings") as caught:
        choose(order(task=Task.EMBEDDING, model=model), {})
    assert "--model" in caught.value.hint
    assert "--endpoint" in caught.value.hint


def test_the_task_decides_which_engine_runs_a_folder() -> None:
    assert choose(order(task=Task.EMBEDDING, model="./m"), {}).kind == "embedding"
    assert choose(order(model="./m"), {}).kind == "openvino"
    url = "http://127.0.0.1:1/v1"
    assert choose(order(task=Task.EMBEDDING, model="m", endpoint=url), {}).kind == "openai"
