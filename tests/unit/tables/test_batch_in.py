"""OpenAI's batch lines in: recognised by their first line, checked against it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import BatchHead, PromptSpec, SourceSpec, Task
from nightkiln.core.request import WireBody
from nightkiln.tables.base import Block, Place
from nightkiln.tables.batch_in import BatchReader, of_any_model, recognised, task_of
from nightkiln.tables.formats import open_reader
from nightkiln.tables.prompts import Renderer
from nightkiln.vault.segments import as_table

Source = Callable[..., SourceSpec]
CHAT = "/v1/chat/completions"


def line(custom_id: str = "a", **changed: Any) -> str:
    whole = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "m"}}
    return json.dumps(whole | changed)


def batch(source: Source, *lines: str, **options: object) -> SourceSpec:
    made = source("jsonl", "\n".join(lines).encode(), **options)
    found = recognised(made, said=False)
    assert found.kind == "batch"
    return found


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(open_reader(spec).blocks(start or Place(), rows=rows))


def ids_of(block: Block) -> list[str | None]:
    assert block.ids is not None
    found: list[str | None] = block.ids.to_pylist()
    return found


def test_a_batch_is_recognised_by_its_first_line(source: Source) -> None:
    found = batch(source, "", line(), line("b"))
    assert found.batch == BatchHead(url=CHAT, model="m")
    assert found.id_column == "custom_id"
    assert task_of(found) is Task.CHAT
    assert isinstance(open_reader(found), BatchReader)


@pytest.mark.parametrize("text", ['{"prompt": "x"}', "oops", '{"custom_id":"a","body":{}}'])
def test_another_table_stays_what_it_is(source: Source, text: str) -> None:
    made = source("jsonl", f"{text}\n{line()}".encode())
    assert recognised(made, said=False) is made


def test_what_is_said_to_be_one_takes_the_first_good_line(source: Source) -> None:
    made = source("batch", f"oops\n{line(url='/v1/embeddings')}".encode())
    found = recognised(made, said=True)
    assert found.batch == BatchHead(url="/v1/embeddings", model="m")
    assert task_of(found) is Task.EMBEDDING


def test_a_file_without_a_good_line_is_a_batch_of_bad_ones(source: Source) -> None:
    found = recognised(source("batch", b"oops\n{}"), said=True)
    assert found.batch == BatchHead()
    (block,) = blocks_of(found)
    assert [bad.code for bad in block.bad] == ["invalid_json_line", "missing_required_parameter"]


def test_ids_are_the_custom_ids(source: Source) -> None:
    (block,) = blocks_of(batch(source, line("a"), line("b")))
    assert ids_of(block) == ["a", "b"]
    assert not block.bad
    with pytest.raises(UsageError, match="--id-column"):
        recognised(source("jsonl", line().encode(), id_column="x"), said=False)


def test_a_bad_line_keeps_its_place_and_its_id(source: Source) -> None:
    spec = batch(source, line("a"), "", "{", line("c", url="/v1/embeddings"), line("d", body={}))
    (block,) = blocks_of(spec)
    assert ids_of(block) == ["a", None, "c", "d"]
    assert [(bad.row, bad.line, bad.code, bad.param) for bad in block.bad] == [
        (1, 3, "invalid_json_line", None),
        (2, 4, "url_mismatch", "url"),
        (3, 5, "missing_required_parameter", "body.model"),
    ]


def test_lines_may_name_any_model_when_another_answers(source: Source) -> None:
    spec = of_any_model(batch(source, line("a"), line("b", body={"model": "n"})))
    (block,) = blocks_of(spec)
    assert not block.bad


def test_reading_goes_on_from_every_place(source: Source) -> None:
    spec = batch(source, *(line(str(number)) for number in range(5)), line("x", body={}))
    blocks = blocks_of(spec, rows=2)
    assert [ids_of(block) for block in blocks] == [["0", "1"], ["2", "3"], ["4", "x"]]
    for number, block in enumerate(blocks, 1):
        assert blocks_of(spec, rows=2, start=block.end) == blocks[number:]


def test_bodies_are_prompts_as_they_came(source: Source) -> None:
    body = '{ "model":"m", "x": 1.10 }'
    text = f'{{"custom_id":"a","method":"POST","url":"{CHAT}","body":{body}}}'
    (block,) = blocks_of(batch(source, text))
    renderer = Renderer(PromptSpec(), block.end.columns, "batch")
    assert renderer.prompts(as_table(block.rows)) == [WireBody(body.encode())]
    assert not renderer.flaws(block.rows)


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_a_file_without_lines_is_empty(source: Source, data: bytes) -> None:
    made = source("batch", data)
    with pytest.raises(InputError) as caught:
        blocks_of(recognised(made, said=True))
    assert caught.value.reason == "empty_file"
