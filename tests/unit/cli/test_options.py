"""The options of `run` as an order."""

from pathlib import Path

import pytest

from nightkiln.cli.options import (
    Allowance,
    Asked,
    allowance_of,
    delimiter_of,
    flags_of,
    header_of,
    order_of,
    param_of,
    template_of,
    unescaped,
    wait_of,
)
from nightkiln.cli.run import again_of
from nightkiln.config import Source, flag_layer, parse
from nightkiln.core.errors import UsageError
from nightkiln.service.orders import Order


def order(**changed: object) -> Order:
    plain: dict[str, object] = {
        "input_name": "in.csv",
        "output": "out.csv",
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "m",
        "key": None,
        "header": (),
        "prompt": None,
        "column": (),
        "separator": "\\n",
        "messages": None,
        "system": None,
        "max_tokens": None,
        "temperature": None,
        "seed": None,
        "param": (),
        "schema": None,
        "concurrency": 64,
        "timeout": None,
        "kv_cache_gb": None,
        "wait": None,
        "limit": None,
        "input_format": None,
        "output_format": None,
        "sheet": None,
        "excel_safe": False,
        "encoding": None,
        "on_bad_row": None,
        "bad_rows": None,
        "delimiter": ",",
        "id_column": None,
        "new": False,
    }
    asked = Asked(**{**plain, **changed})  # type: ignore[arg-type]
    folder = Path("/kiln")
    flags = flag_layer(flags_of(asked), folder=folder, source=Source.FLAG)
    return order_of(asked, parse([], {"HOME": "/home/ruth"}, flags), on_terminal=False)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("\\n", "\n"), ("a\\tb", "a\tb"), ("\\\\n", "\\n"), ("\\x", "\\x"), (" - ", " - ")],
)
def test_a_separator_knows_the_escapes_of_a_shell_user(typed: str, meant: str) -> None:
    assert unescaped(typed) == meant


def test_a_delimiter_is_one_character() -> None:
    assert delimiter_of("\\t") == "\t"
    assert delimiter_of(";") == ";"
    for wrong in ("", "ab", "\\n", '"'):
        with pytest.raises(UsageError, match="--delimiter"):
            delimiter_of(wrong)


@pytest.mark.parametrize(
    ("text", "name", "json"),
    [
        ("top_p=0.9", "top_p", b"0.9"),
        ('stop=["a","b"]', "stop", b'["a","b"]'),
        ("user=night", "user", b'"night"'),
        ("filter=a=b", "filter", b'"a=b"'),
        ("flag=true", "flag", b"true"),
        ("empty=", "empty", b'""'),
        ("odd=NaN", "odd", b'"NaN"'),
    ],
)
def test_a_param_is_json_or_else_a_string(text: str, name: str, json: bytes) -> None:
    found, raw = param_of(text)
    assert (found, bytes(raw)) == (name, json)


def test_a_header_is_a_name_and_a_value() -> None:
    assert header_of("X-Team=a=b") == ("X-Team", "a=b")


@pytest.mark.parametrize("text", ["secret-value", "=secret-value", "X-A=secret-value\r\nX-B=1"])
def test_a_wrong_header_is_refused_without_repeating_its_value(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        header_of(text)
    assert "secret-value" not in caught.value.message + caught.value.hint


def test_allowed_errors_are_a_number_or_a_share() -> None:
    assert allowance_of(None) == Allowance()
    assert allowance_of("5") == Allowance(rows=5)
    assert allowance_of("2.5%") == Allowance(percent=2.5)
    for wrong in ("-1", "101%", "some", "5.5", "%"):
        with pytest.raises(UsageError, match="--allow-errors"):
            allowance_of(wrong)


def test_an_allowance_covers_up_to_its_edge() -> None:
    assert Allowance(rows=5).covers(5, 10)
    assert not Allowance(rows=5).covers(6, 10)
    assert Allowance(percent=10).covers(1, 10)
    assert not Allowance(percent=10).covers(2, 10)
    assert not Allowance().covers(1, 10)


def test_without_a_terminal_the_wait_has_an_end() -> None:
    assert wait_of(None, on_terminal=False) == 600
    assert wait_of(None, on_terminal=True) is None
    assert wait_of(5, on_terminal=True) == 5


def test_the_ways_to_a_prompt_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--prompt and --column exclude each other"):
        order(prompt="{a}", column=("a",))


def test_an_order_says_what_was_typed() -> None:
    made = order(column=("a", "b"), separator="\\t", param=("top_p=0.5",), header=("X-A=1",))
    assert made.prompt.columns == ("a", "b")
    assert made.prompt.separator == "\t"
    assert bytes(made.sampling.extra["top_p"]) == b"0.5"
    assert made.headers == (("X-A", "1"),)


def test_what_was_not_typed_is_what_the_settings_say() -> None:
    made = order()
    assert (made.timeout_s, made.kv_cache_gb, made.wait_s) == (600.0, 1, 600.0)
    made = order(timeout=7.5, kv_cache_gb=3, wait=0.0, temperature=0.0)
    assert (made.timeout_s, made.kv_cache_gb, made.wait_s) == (7.5, 3, 0.0)
    assert made.sampling.temperature == 0.0


def test_the_command_to_repeat_begins_no_new_job_and_tells_no_secret() -> None:
    typed = ["run", "in.csv", "--new", "--header", "X-K=s3", "--header=X-L=s4", "--prompt", "a b"]
    again = again_of(typed)
    assert again == ("nightkiln run in.csv --header X-K=... --header=X-L=... --prompt 'a b'")


def test_an_empty_template_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ask.jinja").write_text(" \n")
    with pytest.raises(UsageError, match="is empty"):
        template_of(str(tmp_path / "ask.jinja"))
