"""What names mean: endpoints, aliases and listed models, and who wins where they differ."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from nightkiln.app.targets import Target, name_asked, order_under, target_of
from nightkiln.config import Settings, Source, file_layer, flag_layer, parse
from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec, Sampling
from nightkiln.service.orders import Order

A, B = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
ENDPOINTS = {
    "a": {
        "url": A,
        "key": "env:A_KEY",
        "models": ["big", "both"],
        "headers": {"X-Team": "night", "api-key": "env:GATE"},
        "concurrency": 7,
        "prices": {"big": {"input": 2, "output": 4}},
    },
    "b": {"url": B, "models": ["small"]},
    "c": {"url": "http://127.0.0.1:3/v1", "models": ["both"]},
}
MODELS = {
    "judge": {
        "endpoint": "a",
        "model": "big",
        "temperature": 0,
        "max_tokens": 8,
        "params": {"top_p": 0.5},
    },
    "small-here": {"file": "/models/s.gguf", "seed": 3},
}
DAY = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def settings(environ: dict[str, str] | None = None, **said: Any) -> Settings:
    flags = {name: said.pop(name) for name in list(said) if name in ("endpoint", "model")}
    flags |= {name: said.pop(name) for name in ("max_tokens", "temperature") if name in said}
    defaults = said.pop("file", {})
    file = {"endpoints": ENDPOINTS, "models": MODELS, "prices": {"big": {"input": 1, "output": 1}}}
    layer = file_layer(
        {**file, **defaults}, file="nightkiln.toml", folder=Path("/p"), is_user=False
    )
    spoken = flag_layer(flags, folder=Path("/p"), source=Source.FLAG)
    return parse([layer], {"HOME": "/h", **(environ or {})}, spoken)


def target(environ: dict[str, str] | None = None, **said: Any) -> Target:
    found = settings(environ, **said)
    order = Order(
        input="t.csv",
        output=None,
        prompt=PromptSpec(),
        endpoint=found.endpoint,
        model=found.model,
        sampling=Sampling(max_tokens=found.max_tokens, temperature=found.temperature),
    )
    return target_of(order, found)


def test_an_endpoint_by_name_brings_its_url_key_headers_and_pace() -> None:
    found = target(endpoint="a", model="big")
    order = found.order
    assert (order.endpoint, order.model, order.key) == (A, "big", "env:A_KEY")
    assert order.headers == (("X-Team", "night"),)
    assert found.secret_headers == (("api-key", "env:GATE"),)
    assert order.concurrency == 7
    assert found.why == "endpoints.a in nightkiln.toml, named by --endpoint"


def test_an_endpoint_with_one_model_needs_no_other_name() -> None:
    assert target(endpoint="b").order.model == "small"
    with pytest.raises(UsageError, match="--endpoint a needs --model") as caught:
        target(endpoint="a")
    assert caught.value.hint == "endpoints.a lists big, both"


def test_a_model_that_one_endpoint_lists_is_asked_there() -> None:
    found = target(model="small")
    assert (found.order.endpoint, found.order.model) == (B, "small")
    assert found.why == "listed by endpoints.b in nightkiln.toml"


def test_a_model_that_two_list_needs_the_endpoint() -> None:
    with pytest.raises(UsageError, match="both is listed by the endpoints a and c"):
        target(model="both")
    assert target(model="both", endpoint="c").order.endpoint == "http://127.0.0.1:3/v1"


def test_an_alias_brings_endpoint_model_and_sampling() -> None:
    found = target(model="judge")
    order = found.order
    assert (order.endpoint, order.model) == (A, "big")
    assert (order.sampling.temperature, order.sampling.max_tokens) == (0, 8)
    assert bytes(order.sampling.extra["top_p"]) == b"0.5"
    assert found.why == "models.judge in nightkiln.toml, named by --model"


def test_an_alias_may_be_a_file() -> None:
    found = target(model="small-here")
    assert (found.order.endpoint, found.order.model) == (None, "/models/s.gguf")
    assert found.order.sampling.seed == 3


def test_what_is_said_for_this_run_wins_over_an_alias_and_that_over_a_default() -> None:
    defaults = {"max_tokens": 99, "temperature": 1}
    found = target({"NIGHTKILN_MAX_TOKENS": "5"}, model="judge", file=defaults)
    assert (found.order.sampling.max_tokens, found.order.sampling.temperature) == (5, 0)
    assert target(model="judge", temperature=0.7, file=defaults).order.sampling.temperature == 0.7
    assert target(model="small", file=defaults).order.sampling.max_tokens == 99


def test_a_name_nobody_knows_comes_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="--model jugde is no model file") as caught:
        target(model="jugde")
    assert caught.value.hint.startswith("did you mean judge? the settings know: judge,")
    with pytest.raises(UsageError, match="--endpoint d is no URL and no endpoint"):
        target(endpoint="d", model="big")


@pytest.mark.parametrize(
    ("default", "said", "meant"),
    [
        # a default endpoint steps back for a model that is elsewhere, and stays for others
        ({"endpoint": "b"}, {"model": "judge"}, (A, "big")),
        ({"endpoint": "b"}, {"model": "big"}, (A, "big")),
        ({"endpoint": "b"}, {"model": "new"}, (B, "new")),
        ({"endpoint": "b"}, {"model": "./x.gguf"}, (None, "./x.gguf")),
        ({"endpoint": "b"}, {"model": "pilot"}, (None, "pilot")),
        # a default model steps back for an endpoint that does not have it
        ({"model": "judge"}, {"endpoint": "b"}, (B, "small")),
        ({"model": "./x.gguf"}, {"endpoint": "b"}, (B, "small")),
        ({"model": "small"}, {"endpoint": "b"}, (B, "small")),
        ({"model": "big"}, {"endpoint": "http://127.0.0.1:9/v1"}, ("http://127.0.0.1:9/v1", "big")),
        # both from the file
        ({"model": "judge", "endpoint": "a"}, {}, (A, "big")),
    ],
)
def test_the_stronger_name_decides(
    default: dict[str, str], said: dict[str, Any], meant: tuple[str | None, str]
) -> None:
    found = target(file=default, **said)
    assert (found.order.endpoint, found.order.model) == meant


def test_two_names_of_the_same_weight_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"models\.judge of the settings, and that is not at"):
        target(endpoint="b", model="judge")


def test_a_key_is_never_sent_to_a_url_that_was_typed() -> None:
    found = target(endpoint=A, model="big")
    assert (found.order.key, found.secret_headers) == (None, ())


def test_an_order_without_names_stays_without_them_whatever_was_configured_since() -> None:
    known = settings(file={"endpoint": "b"})
    order = Order(input="t.csv", output=None, prompt=PromptSpec(), model=None)
    assert target_of(order, known).order.endpoint is None


def test_what_an_order_leaves_open_the_settings_say() -> None:
    known = settings(file={"model": "judge", "timeout": 5, "wait": 7, "on_bad_row": "skip"})
    order = Order(input="t.csv", output=None, prompt=PromptSpec(), model=None, on_bad_row="fail")
    made = order_under(order, known)
    assert (made.model, made.timeout_s, made.wait_s, made.on_bad_row) == ("judge", 5, 7, "fail")
    assert target_of(made, known).order.endpoint == A
    said = order_under(Order(input="t", output=None, prompt=PromptSpec(), model="small"), known)
    assert target_of(said, known).why == "listed by endpoints.b in nightkiln.toml"


def test_own_prices_win_and_those_of_the_endpoint_first() -> None:
    at_a = target(model="big").prices.price_of("big", A, on=DAY)
    elsewhere = target(model="big", endpoint=B).prices.price_of("big", B, on=DAY)
    assert at_a is not None
    assert elsewhere is not None
    assert (at_a.input_usd, at_a.output_usd) == pytest.approx((2e-6, 4e-6))
    assert at_a.source == "endpoints.a.prices.big in nightkiln.toml"
    assert elsewhere.input_usd == pytest.approx(1e-6)
    assert elsewhere.source == "prices.big in nightkiln.toml"


def test_a_price_of_an_alias_is_the_price_of_its_model_when_it_is_asked_by_that_name() -> None:
    file = {"prices": {"judge": {"input": 3, "output": 5}}}
    by_alias = target(model="judge", file=file).prices.price_of("big", A, on=DAY)
    by_name = target(model="big", file=file).prices.price_of("big", A, on=DAY)
    assert by_alias is not None
    assert by_name is not None
    assert by_alias.input_usd == pytest.approx(3e-6)
    assert by_alias.source == "prices.judge in nightkiln.toml"
    assert by_name.input_usd == pytest.approx(2e-6)


@pytest.mark.parametrize(
    ("said", "answers", "name"),
    [
        (None, "pilot", "pilot"),
        ("big", "big", "big"),
        ("judge", "big", "judge"),
        ("small-here", "/models/s.gguf", "small-here"),
        ("judge", "small", "small"),  # a default of the settings that an endpoint outweighs
        ("big", "small", "small"),
    ],
)
def test_a_model_is_asked_by_the_name_that_was_said_where_that_is_the_one_which_answers(
    said: str | None, answers: str, name: str
) -> None:
    assert name_asked(said, answers, settings()) == name
