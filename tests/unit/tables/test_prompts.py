"""Prompts: joined, filled in or passed on, and never interpreted."""

import json
from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec
from nightkiln.tables.prompts import Renderer

TICKETS = pa.table({"id": ["1", "2"], "the text": ["hello", None], "note": ["{id}", "%s {{id}}"]})
COLUMNS = tuple(TICKETS.column_names)


def from_csv(prompt: PromptSpec, table: pa.Table = TICKETS) -> Sequence[object]:
    return Renderer(prompt, tuple(table.column_names), "csv").prompts(table)


def from_jsonl(prompt: PromptSpec, *lines: str) -> Sequence[object]:
    keys = dict.fromkeys(key for line in lines for key in json.loads(line))
    return Renderer(prompt, tuple(keys), "jsonl").prompts(pa.table({"line": lines}))


def test_columns_are_joined_and_null_is_empty() -> None:
    prompt = PromptSpec(columns=("the text", "id"), separator=" | ")
    assert from_csv(prompt) == ["hello | 1", " | 2"]


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("Classify: {the text}", "Classify: hello"),
        ("{id}{id}", "11"),
        ('{{"label": "{id}"}} 100%', '{"label": "1"} 100%'),
        ("{{{id}}}", "{1}"),
        ("{{id}}", "{id}"),
        ("%s %(id)s {id} %", "%s %(id)s 1 %"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_a_template_substitutes_columns_and_nothing_else(template: str, first: str) -> None:
    assert from_csv(PromptSpec(template=template))[0] == first


def test_values_are_never_expanded_again() -> None:
    assert from_csv(PromptSpec(template="{note}!{id}")) == ["{id}!1", "%s {{id}}!2"]


@given(value=st.text())
def test_any_value_arrives_as_it_is(value: str) -> None:
    try:
        table = pa.table({"a": [value], "b": ["secret"]})
    except UnicodeEncodeError:
        return
    assert from_csv(PromptSpec(template="<{a}>"), table) == [f"<{value}>"]
    line = json.dumps({"a": value, "b": "secret"})
    assert from_jsonl(PromptSpec(template="<{a}>"), line) == [f"<{value}>"]


@pytest.mark.parametrize(
    "template", ["{id.__class__}", "{id!r}", "{id:>10}", "{id[0]}", "{ id }", "{0}"]
)
def test_attributes_indexes_and_formats_are_just_names_that_are_not_there(template: str) -> None:
    with pytest.raises(UsageError, match="which is not in the input; the columns are:"):
        from_csv(PromptSpec(template=template))


@pytest.mark.parametrize("template", ["{", "a } b", "{}", "{a{b}}"])
def test_a_lone_brace_is_explained(template: str) -> None:
    with pytest.raises(UsageError, match=r"a single [{}] at character") as caught:
        from_csv(PromptSpec(template=template))
    assert "{{ and }}" in caught.value.hint


def test_a_missing_column_lists_the_columns_and_guesses() -> None:
    with pytest.raises(UsageError) as caught:
        from_csv(PromptSpec(template="Classify {text}"))
    assert caught.value.message == (
        'the prompt names the column "text", which is not in the input;'
        ' the columns are: "id", "the text", "note"'
    )
    assert caught.value.hint == 'did you mean "the text"?'


def test_the_only_column_is_the_prompt() -> None:
    assert from_csv(PromptSpec(), pa.table({"q": ["a", "b"]})) == ["a", "b"]


def test_several_columns_need_to_be_told_apart() -> None:
    with pytest.raises(UsageError) as caught:
        from_csv(PromptSpec())
    assert caught.value.message == (
        "say what the prompt is: --column NAME, --prompt 'TEXT WITH {COLUMN}'"
        ', --template FILE.jinja or --messages COLUMN; the columns are: "id", "the text", "note"'
    )


def test_the_three_options_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        from_csv(PromptSpec(columns=("id",), template="{id}"))


def test_json_values_become_text() -> None:
    line = '{"s": "a\\n\\u00e9", "n": 1.50, "z": null, "o": { "k" : [1, "x y"] }, "t": true}'
    prompt = PromptSpec(columns=("s", "n", "z", "o", "t"), separator="|")
    assert from_jsonl(prompt, line) == ['a\né|1.50||{"k":[1,"x y"]}|true']


def test_any_key_can_be_asked_for_and_twice() -> None:
    line = r'{"a \"b\"\n": 1, "\u0063": "x", "d": 2}'
    assert from_jsonl(PromptSpec(columns=('a "b"\n', "c", "c"), separator=""), line) == ["1xx"]
    assert from_jsonl(PromptSpec(template="{c}{d}{c}"), line) == ["x2x"]


def test_messages_are_passed_on_as_they_came() -> None:
    messages = '[ {"role": "user", "content": "hi", "n": 1.0} ]'
    prompt = PromptSpec(messages_column="m")
    assert from_csv(prompt, pa.table({"m": [messages]})) == [msgspec.Raw(messages)]
    assert from_jsonl(prompt, f'{{"m": {messages}}}') == [msgspec.Raw(messages)]
    assert from_jsonl(prompt, json.dumps({"m": messages})) == [msgspec.Raw(messages)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[]", "are an empty list"),
        ("hello", "are not JSON"),
        ("", "are not JSON"),
        ('{"role": "user"}', "do not fit: Expected `array`, got `object`"),
        ('[{"content": "x"}]', "do not fit: Object missing required field `role` - at `$[0]`"),
        ('["x"]', "do not fit: Expected `object`, got `str` - at `$[0]`"),
    ],
)
def test_messages_that_are_none_are_named(value: str, problem: str) -> None:
    good = '[{"role": "user", "content": "x"}]'
    table = pa.table({"m": [good, value]})
    renderer = Renderer(PromptSpec(messages_column="m"), ("m",), "csv")
    ((index, flaw),) = renderer.flaws(table).items()
    assert (index, flaw.reason) == (1, f'the messages in "m" {problem}')


def test_a_json_line_without_a_needed_key_is_named() -> None:
    table = pa.table({"line": ['{"a": null, "b": 1}', '{"b": 2}']})
    renderer = Renderer(PromptSpec(columns=("a",)), ("a", "b"), "jsonl")
    ((index, flaw),) = renderer.flaws(table).items()
    assert (index, flaw.reason) == (1, 'no key "a", which the prompt needs')


def test_rows_that_fit_pass_the_check() -> None:
    renderer = Renderer(PromptSpec(columns=("the text",)), COLUMNS, "csv")
    assert renderer.flaws(TICKETS) == {}
    renderer = Renderer(PromptSpec(messages_column="m"), ("m",), "jsonl")
    table = pa.table({"line": ['{"m": [{"role": "user", "content": "x"}]}']})
    assert renderer.flaws(table) == {}
