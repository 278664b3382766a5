"""Which models a server answers for: those of its configuration, under every name they have."""

from pathlib import Path
from typing import Any

import pytest

from nightkiln.app.servedmodels import ServedModels, is_on_this_machine
from nightkiln.config import Settings, Source, file_layer, flag_layer, parse
from nightkiln.core.job import Task

A, B = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
FILE: dict[str, Any] = {
    "endpoint": "a",
    "model": "usual",
    "endpoints": {
        "a": {"url": A, "models": ["m", "usual"]},
        "b": {"url": B, "models": ["m", "only-b"]},
        "c": {"url": B, "models": []},
    },
    "models": {
        "big": {"endpoint": "b", "model": "only-b"},
        "here": {"file": "/models/tiny.gguf"},
    },
}


def settings(file: dict[str, Any] = FILE) -> Settings:
    layer = file_layer(file, file="nightkiln.toml", folder=Path("/p"), is_user=False)
    return parse([layer], {"HOME": "/h"}, flag_layer({}, folder=Path("/p"), source=Source.FLAG))


def test_every_configured_name_is_served_and_no_other() -> None:
    models = ServedModels(settings())
    assert models.names() == ("big", "here", "m", "usual", "only-b")
    assert all(models.served(name, Task.CHAT) is not None for name in models.names())
    for name in ("", "gpt-9", "M", "/models/tiny.gguf", "hf:org/repo"):
        assert models.served(name, Task.CHAT) is None


def test_a_model_at_several_endpoints_goes_to_all_of_them_or_where_it_is_routed() -> None:
    models = ServedModels(settings())
    both = models.served("m", Task.CHAT)
    assert both is not None
    assert (both.order.endpoint, both.order.more_endpoints) == ("a", ("b",))
    one = models.served("m", Task.CHAT, ["b"])
    assert one is not None
    assert (one.order.endpoint, one.order.more_endpoints, one.model) == ("b", (), "m")
    assert models.served("m", Task.CHAT, ["nowhere"]) is None
    assert models.served("big", Task.CHAT, ["a"]) is None


def test_two_names_of_one_model_are_one_place() -> None:
    models = ServedModels(settings())
    alias, plain, other = (models.served(name, Task.CHAT) for name in ("big", "only-b", "m"))
    assert alias is not None
    assert plain is not None
    assert other is not None
    assert alias.model == plain.model == "only-b"
    assert alias.place == plain.place != other.place


@pytest.mark.parametrize(("name", "is_local"), [("here", True), ("m", False)])
def test_engines_of_our_own_are_known(name: str, is_local: bool) -> None:
    found = ServedModels(settings()).served(name, Task.CHAT)
    assert found is not None
    assert is_on_this_machine(found.order, settings()) is is_local
