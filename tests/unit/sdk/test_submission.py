"""What `infer` takes and refuses, and how columns become a prompt."""

import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel

import nightkiln as nk
from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import PromptSpec
from nightkiln.sdk.submission import order_for, submission
from nightkiln.sdk.wording import in_python
from nightkiln.service.orders import Staged

SUTRO = (
    "data model name description column output_column job_priority output_schema sampling_params"
    " system_prompt dry_run stay_attached random_seed_per_input truncate_rows id_column"
)


class Label(BaseModel):
    team: str


def staged(*columns: str) -> Staged:
    return Staged(path="x", name="list", sha256="0", size_bytes=1, columns=columns)


def prompt_of(*columns: str, **asked: object) -> PromptSpec:
    made = submission(["a"], **asked)  # type: ignore[arg-type]
    return order_for(made, columns, staged(*columns)).prompt


def test_the_parameters_stand_where_sutros_stand() -> None:
    names = list(inspect.signature(nk.infer).parameters)
    assert names[: len(SUTRO.split())] == SUTRO.split()
    assert "self" not in names
    assert list(inspect.signature(nk.Client.infer).parameters)[1:] == names
    assert "at once" in (nk.infer.__doc__ or "")


def test_one_column_needs_no_name() -> None:
    assert prompt_of("text") == PromptSpec(columns=("text",))
    assert prompt_of("messages") == PromptSpec(messages_column="messages")
    assert prompt_of("a", "b") == PromptSpec()  # the reader says what is missing


def test_names_and_texts_between_them_become_one_template() -> None:
    assert prompt_of("a", "b", column=["a", " / ", "b"]).template == "{a} / {b}"
    assert prompt_of("a", column=["a", " {json} "]).template == "{a} {{json}} "
    assert prompt_of("a b", "c", column=["a b", "c"]).template == "{a b}{c}"


@pytest.mark.parametrize("item", ["txt", "Text", "no_such.column", "7"])
def test_an_item_that_looks_like_a_name_and_is_none_is_an_error(item: str) -> None:
    with pytest.raises(UsageError, match=f'names the column "{item}"'):
        prompt_of("text", "id", column=["text", item])


@pytest.mark.parametrize("column", [[], ["only a text"]])
def test_a_list_without_a_column_is_an_error(column: list[str]) -> None:
    with pytest.raises(UsageError, match="column="):
        prompt_of("text", column=column)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"truncate_rows": True}, "truncate_rows"),
        ({"random_seed_per_input": True}, "random_seed_per_input"),
        ({"job_priority": 2}, "job_priority"),
        ({"name": "x" * 46}, "at most 45"),
        ({"description": "x" * 513}, "at most 512"),
        ({"output_column": "status"}, "output_column"),
        ({"column": "a", "prompt": "{a}"}, "exclude each other"),
        ({"inputs": ["b"]}, "give the rows once"),
        ({"sampling_params": {"max_tokens": "many"}}, "max_tokens"),
        ({"sampling_params": {"stop": object()}}, "sampling_params"),
        ({"task": "paint"}, "no task 'paint'"),
        ({"output_schema": 7}, "output_schema is a int"),
        ({"output_schema": '{"type": 7}'}, "schema"),
    ],
)
def test_what_is_not_done_is_refused_and_never_ignored(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        submission(["a"], **asked)  # type: ignore[arg-type]


def test_rows_have_to_be_given() -> None:
    with pytest.raises(UsageError, match="give the rows once"):
        submission()


@pytest.mark.parametrize(
    "schema",
    [Label, Label.model_json_schema(), '{"type": "object"}', b'{"type": "object"}'],
    ids=["pydantic", "dict", "str", "bytes"],
)
def test_a_schema_may_be_a_class_a_dict_or_text(schema: object) -> None:
    made = submission(["a"], output_schema=schema)  # type: ignore[arg-type]
    assert made.order.output_schema is not None
    assert b'"object"' in made.order.output_schema


def test_sampling_parameters_we_do_not_know_go_into_the_request() -> None:
    sampling = submission(["a"], sampling_params={"max_tokens": 5, "top_p": 0.5}).order.sampling
    assert (sampling.max_tokens, bytes(sampling.extra["top_p"])) == (5, b"0.5")


@pytest.mark.parametrize("text", ["no/such.csv", "Translate: good\nmorning", "x" * 5000, "nul\0"])
def test_a_string_that_names_no_file_is_never_a_row_and_never_shown_whole(text: str) -> None:
    with pytest.raises(InputError, match="there is no file") as caught:
        submission(text)
    assert "good" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_path_and_a_url_are_left_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.touch()
    assert submission(path).path == str(path)
    assert submission("https://example.com/in.csv").order.input == "https://example.com/in.csv"


def test_an_argument_nobody_knows_is_said_of_the_function_that_was_called() -> None:
    with pytest.raises(TypeError, match=r"^infer\(\) got an unexpected keyword argument 'modle'"):
        nk.Client().infer(["a"], modle="m")  # type: ignore[call-arg]


def test_words_of_the_command_line_alone_are_left_out_in_python() -> None:
    error = UsageError("give --column NAME, --template FILE.jinja or --messages COLUMN")
    in_python(error)
    assert error.message == "give column NAME or messages COLUMN"


@pytest.mark.parametrize("column", [0, 1.5, {"q"}, ["q", 3], b"q"])
def test_a_column_that_is_no_name_is_said_as_it_was_given(column: object) -> None:
    with pytest.raises(UsageError) as caught:
        submission(["a"], column=column)  # type: ignore[arg-type]
    assert caught.value.message == f"column= is {column!r}, which names no column"
