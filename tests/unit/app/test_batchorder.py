"""Whose word counts for a file of batch lines: its own, the run's, or the settings'."""

from pathlib import Path
from typing import Any

import pytest

from nightkiln.app.batchorder import batch_order, may_name_its_model
from nightkiln.app.settings import load_settings
from nightkiln.config import Settings
from nightkiln.core.errors import UsageError
from nightkiln.core.job import BatchHead, PromptSpec, Sampling, SourceSpec, Task
from nightkiln.service.orders import Order

URL = "http://127.0.0.1:1/v1"
HEAD = BatchHead(url="/v1/chat/completions", model="theirs")


def source(batch: BatchHead | None = HEAD) -> SourceSpec:
    kind = "csv" if batch is None else "batch"
    return SourceSpec(kind=kind, path="", name="", size_bytes=0, sha256="", batch=batch)


def order(settings: Settings, **said: Any) -> Order:
    named = {"prompt": PromptSpec(), "model": settings.model, "endpoint": settings.endpoint}
    return Order(input="in.jsonl", output=None, **{**named, **said})


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(text: str = "", **flags: object) -> Settings:
        (tmp_path / "nightkiln.toml").write_text(text)
        return load_settings({"HOME": str(tmp_path)}, tmp_path, flags)

    return make


def test_a_table_is_left_as_it_is(settings: Any) -> None:
    known = settings()
    table, given = source(None), order(known)
    assert batch_order(table, given, known) == (table, given)


def test_the_file_names_the_model_for_an_endpoint(settings: Any) -> None:
    known = settings(endpoint=URL)
    found, said = batch_order(source(), order(known), known)
    assert (said.model, found.batch) == ("theirs", HEAD)


def test_without_an_endpoint_the_usual_choice_holds(settings: Any) -> None:
    known = settings()
    found, said = batch_order(source(), order(known), known)
    assert (said.model, found.batch) == (None, HEAD)


def test_a_model_named_for_the_run_answers_lines_of_any(settings: Any) -> None:
    known = settings(endpoint=URL, model="ours")
    found, said = batch_order(source(), order(known), known)
    assert said.model == "ours"
    assert found.batch == BatchHead(url=HEAD.url, model=None)


def test_a_default_model_gives_way_to_the_file(settings: Any) -> None:
    known = settings('model = "usual"\n', endpoint=URL)
    found, said = batch_order(source(), order(known), known)
    assert (said.model, found.batch) == ("theirs", HEAD)


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ({"prompt": PromptSpec(template="x {y}")}, "--prompt"),
        ({"prompt": PromptSpec(columns=("a",))}, "--column"),
        ({"prompt": PromptSpec(system="be kind")}, "--system"),
        ({"sampling": Sampling(seed=1)}, "--seed"),
        ({"sampling": Sampling(max_tokens=1)}, "--max-tokens"),
        ({"sampling": Sampling(temperature=0.0)}, "--temperature"),
        ({"output_schema": b"{}"}, "--schema"),
        ({"task": Task.EMBEDDING}, "--task"),
    ],
)
def test_what_the_bodies_say_is_not_said_again(
    settings: Any, said: dict[str, Any], flag: str
) -> None:
    known = settings()
    with pytest.raises(UsageError, match=flag):
        batch_order(source(), order(known, **said), known)


def test_the_url_of_the_lines_says_what_is_asked(settings: Any) -> None:
    known = settings(endpoint=URL)
    head = BatchHead(url="/v1/embeddings", model="theirs")
    assert batch_order(source(head), order(known), known)[1].task is Task.EMBEDDING


def test_defaults_for_tables_are_no_business_of_bodies(settings: Any) -> None:
    known = settings("max_tokens = 7\n", endpoint=URL)
    given = order(known, sampling=Sampling(max_tokens=known.max_tokens))
    assert batch_order(source(), given, known)[1].model == "theirs"


@pytest.mark.parametrize(
    ("said", "may"),
    [
        ({"input": "in.jsonl", "endpoint": URL}, True),
        ({"input": "http://h/in.jsonl.gz?x=1", "endpoint": URL}, True),
        ({"input": "-", "input_format": "batch", "endpoint": URL}, True),
        ({"input": "in.csv", "endpoint": URL}, False),
        ({"input": "in.jsonl", "endpoint": URL, "model": "m"}, False),
        ({"input": "in.jsonl"}, False),
    ],
)
def test_only_lines_for_an_endpoint_may_have_to_name_the_model(
    said: dict[str, Any], may: bool
) -> None:
    named: dict[str, Any] = {"prompt": PromptSpec(), "model": None, "output": None, **said}
    assert may_name_its_model(Order(**named)) is may
