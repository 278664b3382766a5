"""Layers in, settings out: who wins, and what every mistake is called."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.config import (
    ConfigError,
    Layer,
    Settings,
    Source,
    file_layer,
    flag_layer,
    parse,
    settings,
    shown_of,
    variable,
)

FOLDER = Path("/project")
HOME = {"HOME": "/home/ruth"}
TEAM = {"url": "http://127.0.0.1:1/v1"}


def project(**said: object) -> Layer:
    return file_layer(said, file="nightkiln.toml", folder=FOLDER, is_user=False)


def user(**said: object) -> Layer:
    return file_layer(said, file="~/nightkiln.toml", folder=Path("/home/ruth"), is_user=True)


def parsed(*files: Layer, environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    said = flag_layer(flags, folder=FOLDER, source=Source.FLAG)
    return parse(files, {**HOME, **(environ or {})}, said)


def test_without_anything_said_the_built_in_values_hold() -> None:
    found = parsed()
    assert found.home == Path("/home/ruth/.local/share/nightkiln")
    assert (found.timeout, found.engine.kv_cache_gb, found.on_bad_row) == (600.0, 1, "error")
    assert found.origin("timeout").words == "built in"


def test_flags_win_over_variables_over_the_project_over_the_user() -> None:
    files = (
        project(timeout=2, concurrency=2, wait=2),
        user(timeout=1, concurrency=1, wait=1, temperature=1),
    )
    environ = {"NIGHTKILN_TIMEOUT": "3", "NIGHTKILN_CONCURRENCY": "3"}
    found = parsed(*files, environ=environ, timeout=4.0)
    assert (found.timeout, found.concurrency, found.wait, found.temperature) == (4, 3, 2, 1)
    words = [found.origin(key).words for key in ("timeout", "concurrency", "wait", "temperature")]
    assert words == [
        "flag --timeout",
        "env NIGHTKILN_CONCURRENCY",
        "nightkiln.toml: wait",
        "~/nightkiln.toml: temperature",
    ]


def test_an_option_that_was_not_given_and_an_empty_variable_say_nothing() -> None:
    found = parsed(project(timeout=2), environ={"NIGHTKILN_TIMEOUT": ""}, timeout=None)
    assert found.timeout == 2


def test_a_section_is_merged_setting_by_setting() -> None:
    found = parsed(project(engine={"kv_cache_gb": 2}), user(engine={"precision": "f32"}))
    assert (found.engine.kv_cache_gb, found.engine.precision) == (2, "f32")


def test_an_endpoint_is_never_mixed_from_two_files() -> None:
    mine = {"url": "https://mine.example/v1", "key": "env:MINE"}
    found = parsed(project(endpoints={"team": TEAM}), user(endpoints={"team": mine}))
    assert found.endpoints["team"].key is None
    assert found.origin("endpoints.team").words == "nightkiln.toml: endpoints.team"


def test_paths_begin_at_the_folder_that_names_them() -> None:
    files = (
        project(home="jobs", models={"m": {"file": "m.gguf"}, "h": {"file": "hf:a/b"}}),
        user(endpoints={"a": {**TEAM, "key": "file:key", "headers": {"x-k": "file:~/k"}}}),
    )
    found = parsed(*files)
    assert found.home == Path("/project/jobs")
    assert found.models["m"].file == "/project/m.gguf"
    assert found.models["h"].file == "hf:a/b"
    assert found.endpoints["a"].key == "file:/home/ruth/key"
    assert found.endpoints["a"].headers == {"x-k": "file:/home/ruth/k"}
    assert parsed(environ={"NIGHTKILN_HOME": "there"}).home == Path("/project/there")
    assert parsed(environ={"XDG_DATA_HOME": "/data"}).home == Path("/data/nightkiln")
    assert parsed(home="~/h").home == Path("/home/ruth/h")


def test_variables_that_hold_somebodys_secret_are_not_ours_to_read() -> None:
    secret = project(endpoints={"a": {**TEAM, "key": "env:NIGHTKILN_PASSWORD"}})
    parsed(secret, environ={"NIGHTKILN_PASSWORD": "x", "NIGHTKILN_TEAM_KEY": "y"})
    with pytest.raises(ConfigError, match="NIGHTKILN_PASSWORD sets nothing"):
        parsed(environ={"NIGHTKILN_PASSWORD": "x"})


FILE_ERRORS: dict[str, tuple[dict[str, object], str, str]] = {
    "an unknown name": (
        {"tiemout": 5},
        "nightkiln.toml: tiemout is no setting",
        "did you mean timeout? the file takes: home, endpoint, model,",
    ),
    "an unknown name in a section": (
        {"endpoints": {"team": {"ulr": "x"}}},
        "nightkiln.toml: endpoints.team.ulr is no setting",
        "did you mean url? endpoints.team takes: url, key, keys, headers, models, names,",
    ),
    "a wrong type": (
        {"timeout": "soon"},
        'nightkiln.toml: timeout is "soon"; it has to be a number above 0',
        "",
    ),
    "a number that is none": (
        {"timeout": float("nan")},
        "nightkiln.toml: timeout is nan; it has to be a number above 0",
        "",
    ),
    "a number out of bounds": (
        {"concurrency": 0},
        "nightkiln.toml: concurrency is 0; it has to be a whole number from 1 to 16384",
        "",
    ),
    "true for a number": (
        {"max_tokens": True},
        "nightkiln.toml: max_tokens is true; it has to be a whole number, 1 or more",
        "",
    ),
    "a choice that is not offered": (
        {"on_bad_row": "keep"},
        'nightkiln.toml: on_bad_row is "keep"; it has to be one of error, fail, skip',
        "",
    ),
    "an empty text": ({"model": ""}, 'nightkiln.toml: model is ""; it has to be a text', ""),
    "a section in the singular": (
        {"endpoint": {"team": {}}},
        "nightkiln.toml: endpoint is {team = {}}; it has to be a text",
        "did you mean [endpoints.NAME]?",
    ),
    "a value in place of a section": (
        {"endpoints": {"team": "http://x/v1"}},
        "nightkiln.toml: endpoints.team has to be a table",
        "write it as [endpoints.team]",
    ),
    "what a file may not say": ({"debug": True}, "nightkiln.toml: debug is no setting", "the file"),
    "an endpoint without a URL": (
        {"endpoints": {"a b": {"key": "env:X"}}},
        'nightkiln.toml: endpoints."a b" has no url',
        "add url, an http:// or https:// URL",
    ),
    "a URL that is none": (
        {"endpoints": {"a": {"url": "localhost:8000"}}},
        "nightkiln.toml: endpoints.a.url is no http:// or https:// URL",
        "it ends in /v1",
    ),
    "an alias without a target": (
        {"models": {"a": {}}},
        "nightkiln.toml: models.a has to have an endpoint or a file, and not both",
        'write endpoint = "NAME"',
    ),
    "an alias with a file and a model": (
        {"models": {"a": {"file": "x.gguf", "model": "m"}}},
        "nightkiln.toml: models.a.model goes with an endpoint, not a file",
        "",
    ),
    "an alias for nobody's endpoint": (
        {"models": {"a": {"endpoint": "taem"}}, "endpoints": {"team": TEAM}},
        "nightkiln.toml: models.a.endpoint is 'taem', and no [endpoints] has that name",
        "did you mean team? there are: team",
    ),
    "half a price": (
        {"prices": {"gpt-4.1": {"input": 1}}},
        'nightkiln.toml: prices."gpt-4.1" has no output',
        "add output, a number, 0 or more: a million tokens of output",
    ),
}


@pytest.mark.parametrize(("said", "message", "hint"), FILE_ERRORS.values(), ids=FILE_ERRORS.keys())
def test_a_mistake_names_the_file_the_key_and_what_would_do(
    said: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(project(**said))
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)
    assert bool(caught.value.hint) == bool(hint)


SECRET = "sk-proj-Zx81kq02mmQ"


@pytest.mark.parametrize(
    "endpoint",
    [
        {**TEAM, "key": SECRET},
        {**TEAM, "key": f"env:{SECRET}"},
        {**TEAM, "key": [SECRET]},
        {**TEAM, "api_key": SECRET},
        {**TEAM, "headers": {"authorization": f"Token {SECRET}"}},
        {**TEAM, "headers": {"X-Api-Key": SECRET}},
        {**TEAM, "headers": {"X-Other": SECRET}},
        {**TEAM, "headers": SECRET},
        {"url": f"https://ruth:{SECRET}@llm.example/v1"},
        {"url": f"https://llm.example/v1?token={SECRET}"},
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(endpoint: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(project(endpoints={"team": endpoint}))
    shown = caught.value.message + caught.value.hint
    assert "nightkiln.toml: endpoints.team" in shown
    assert "Zx81kq02mmQ" not in shown


def test_a_key_in_place_says_what_to_write_instead() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(project(endpoints={"team": {**TEAM, "key": SECRET}}))
    assert caught.value.message == (
        "nightkiln.toml: endpoints.team.key is no reference, and a key is never kept in a file"
    )
    assert '"env:NAME", "file:PATH" or "keyring:SERVICE/USER"' in caught.value.hint


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NIGHTKILN_TIMEOU": "5"}, "the variable NIGHTKILN_TIMEOU sets nothing"),
        (
            {"NIGHTKILN_TIMEOUT": "soon"},
            'NIGHTKILN_TIMEOUT is "soon"; it has to be a number above 0',
        ),
        (
            {"NIGHTKILN_NO_COLOR": "maybe"},
            'NIGHTKILN_NO_COLOR is "maybe"; it has to be true or false',
        ),
    ],
)
def test_a_wrong_variable_is_an_error(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(environ=environ)
    assert caught.value.message == message


def test_a_wrong_variable_names_the_nearest_and_none_of_the_tests() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(environ={"NIGHTKILN_TIMEOU": "5"})
    assert caught.value.hint.startswith("did you mean NIGHTKILN_TIMEOUT? the variables are: ")
    assert "CRASH" not in caught.value.hint


def test_a_flag_that_cannot_be_is_named_as_it_is_typed() -> None:
    zero = {"engine.kv_cache_gb": 0}
    with pytest.raises(ConfigError, match=r"--kv-cache-gb is 0; it has to be a whole number"):
        parse([], HOME, flag_layer(zero, folder=FOLDER, source=Source.FLAG))
    with pytest.raises(ConfigError, match="there is no setting tiemout"):
        parsed(tiemout=5)


def test_secrets_are_not_shown() -> None:
    headers = {"X-Team": "night", "api-key": "env:GATEWAY"}
    found = parsed(project(endpoints={"team": {**TEAM, "key": "env:K", "headers": headers}}))
    shown = {one.setting: one.value for one in shown_of(found)}
    assert shown["endpoints.team.key"] == "env:K"
    assert shown["endpoints.team.headers"] == {"X-Team": "…", "api-key": "env:GATEWAY"}
    assert "crash_at" not in shown


def test_a_secret_in_a_variable_or_an_address_is_only_said_to_be_there() -> None:
    environ = {
        "NIGHTKILN_API_KEY": "secretkey123",
        "NIGHTKILN_ENDPOINT": "http://ruth:pass99@host:1/v1?sig=abc99",
        "NIGHTKILN_URL": "http://127.0.0.1:8078",
    }
    params = {"api_key": "plain99", "top_k": 4, "stop": "x"}
    found = parsed(
        project(endpoints={"t": TEAM}, models={"m": {"endpoint": "t", "params": params}}),
        environ=environ,
    )
    shown = {one.setting: (one.value, one.origin) for one in shown_of(found)}
    assert shown["api_key"] == ("…", "env NIGHTKILN_API_KEY")
    assert shown["endpoint"][0] == "http://…@host:1/v1?…"
    assert shown["url"][0] == "http://127.0.0.1:8078"
    assert shown["models.m.params"][0] == {"api_key": "…", "top_k": 4, "stop": "x"}
    assert {one.setting: one.value for one in shown_of(parsed())}["api_key"] is None


SAMPLES = {
    "a path": "/somewhere",
    "a text": "words",
    "an http:// or https:// URL without a password in it": "http://127.0.0.1:8078",
    "true or false": "true",
    "a number above 0": "2.5",
    "a number, 0 or more": "0",
    "a whole number, 1 or more": "3",
    "a whole number from 1 to 16384": "16384",
    "one of error, fail, skip": "skip",
    "one of auto, f32, bf16": "bf16",
    "one of auto, always, never": "never",
    "one of auto, off, refresh": "off",
}


@pytest.mark.parametrize("key", settings())
def test_every_setting_can_be_said_by_its_variable(key: str) -> None:
    found = parsed(environ={variable(key): SAMPLES[settings()[key].words]})
    assert found.origin(key).words == f"env {variable(key)}"
    assert key in {one.setting for one in shown_of(found)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["team", "url", "key", "headers", "models", "prices", "file", "input"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
TOP = st.sampled_from(
    ["endpoints", "models", "prices", "engine", "timeout", "home", "model", "no_color"]
)


@given(st.dictionaries(TOP, JSON, max_size=4))
def test_whatever_a_file_says_it_is_settings_or_a_sentence(said: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        shown_of(parsed(project(**said)))
