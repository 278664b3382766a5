"""Which backends an order means: endpoints by name, pools of keys, aliases; who gets which key."""

from pathlib import Path
from typing import Any

import pytest

from nightkiln.app.fleets import label_of, targets_of
from nightkiln.config import Settings, Source, file_layer, flag_layer, parse
from nightkiln.core.errors import ConfigError, UsageError
from nightkiln.core.job import PromptSpec
from nightkiln.service.orders import Order

A, B, C = (f"http://127.0.0.1:{port}/v1" for port in (1, 2, 3))
FILE: dict[str, Any] = {
    "endpoints": {
        "a": {"url": A, "key": "env:A_KEY", "models": ["m"], "names": {"m": "org/m"}},
        "b": {"url": B, "keys": ["env:B_1", "env:B_2"], "models": ["m"]},
        "c": {"url": C, "models": ["another"], "names": {"both": "their-m"}},
    },
    "models": {"both": {"endpoints": ["a", "c"], "model": "m", "temperature": 0}},
}


def settings(file: dict[str, Any] = FILE) -> Settings:
    layer = file_layer(file, file="nightkiln.toml", folder=Path("/p"), is_user=False)
    return parse([layer], {"HOME": "/h"}, flag_layer({}, folder=Path("/p"), source=Source.FLAG))


def meant(*endpoints: str, model: str | None = "m", keys: tuple[str, ...] = ()) -> list[Any]:
    order = Order(
        input="t.csv",
        output=None,
        prompt=PromptSpec(),
        model=model,
        endpoint=next(iter(endpoints), None),
        more_endpoints=endpoints[1:],
        key=next(iter(keys), None),
        more_keys=keys[1:],
    )
    targets = targets_of(order, settings())
    return [
        (one.order.endpoint, one.order.key, one.model_there or one.order.model) for one in targets
    ]


def test_endpoints_by_name_bring_their_own_keys_and_names_for_the_model() -> None:
    assert meant("a", "b") == [
        (A, "env:A_KEY", "org/m"),
        (B, "env:B_1", "m"),
        (B, "env:B_2", "m"),
    ]


def test_several_keys_of_one_endpoint_are_a_pool() -> None:
    assert meant(C, keys=("env:X", "env:Y")) == [(C, "env:X", "m"), (C, "env:Y", "m")]
    assert meant("a", keys=("env:X", "env:Y"))[1] == (A, "env:Y", "org/m")


def test_a_key_goes_to_no_endpoint_that_it_was_not_named_for() -> None:
    assert meant(A, C, keys=("env:X", "env:Y")) == [(A, "env:X", "m"), (C, "env:Y", "m")]
    with pytest.raises(UsageError, match="once for each of the 2 endpoints"):
        meant(A, C, keys=("env:X",))
    with pytest.raises(UsageError, match="once for each of the 2 endpoints"):
        meant(model="both", keys=("env:X",))
    assert meant(A, C) == [(A, None, "m"), (C, None, "m")]


def test_an_alias_may_mean_several_endpoints_or_one_that_is_named() -> None:
    assert meant(model="both") == [(A, "env:A_KEY", "org/m"), (C, None, "their-m")]
    assert meant("c", model="both") == [(C, None, "their-m")]


def test_a_said_key_outweighs_a_pool_of_the_settings() -> None:
    assert meant("b", keys=("env:X",)) == [(B, "env:X", "m")]


def test_backends_that_cannot_be_one_fleet_are_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        meant(A, A)
    with pytest.raises(UsageError, match="one model, not m and another"):
        meant("a", "c", model=None)


def test_backends_at_one_address_are_told_apart_by_the_reference_of_their_key() -> None:
    order = Order(input="t", output=None, prompt=PromptSpec(), model="m", endpoint="b")
    targets = targets_of(order, settings())
    assert [label_of(one, targets) for one in targets] == ["env:B_1", "env:B_2"]
    assert label_of(targets[0], targets[:1]) == ""


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ({"url": A, "keys": ["sk-secret"]}, "is no reference"),
        ({"url": A, "key": "env:A", "keys": ["env:B"]}, "stands beside"),
        ({"url": A, "keys": ["env:A", "env:A"]}, "one key twice"),
    ],
)
def test_a_pool_that_cannot_be_meant_is_an_error_of_the_file(
    endpoint: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        settings({"endpoints": {"a": endpoint}})
    assert "sk-secret" not in str(caught.value)


def test_an_alias_names_only_endpoints_that_there_are() -> None:
    with pytest.raises(ConfigError, match="no \\[endpoints\\] has that name"):
        settings({"endpoints": {"a": {"url": A}}, "models": {"x": {"endpoints": ["a", "z"]}}})
