"""Blocks, tools and turns of Messages params, as messages of a chat."""

import json
from typing import Any

import pytest

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.request import WireBody
from nightkiln.wire.anthropic.params import (
    translate,
)
from nightkiln.wire.anthropic.rules import Rules, Version

OLD = Rules(version=Version.FIRST)
NEW = Rules(version=Version.SECOND)
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
USE = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "QUJD"}


def params(**changed: Any) -> bytes:
    whole: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    whole |= changed
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


def chat(rules: Rules = NEW, **changed: Any) -> dict[str, Any]:
    found = translate(params(**changed), rules)
    assert isinstance(found, WireBody), found
    decoded: dict[str, Any] = json.loads(found.json)
    return decoded


def refusal(rules: Rules = NEW, **changed: Any) -> Fault:
    found = translate(params(**changed), rules)
    assert isinstance(found, Fault), found
    assert found.kind is FaultClass.PERMANENT
    assert not found.sent
    return found


def said(content: Any, role: str = "user", rules: Rules = NEW) -> list[dict[str, Any]]:
    messages = [{"role": role, "content": content}]
    found: list[dict[str, Any]] = chat(rules, messages=messages)["messages"]
    return found


def refused(block: dict[str, Any], rules: Rules = NEW) -> str:
    return refusal(rules, messages=[{"role": "user", "content": [block]}]).message


def conversation(*content: Any) -> list[dict[str, Any]]:
    """Turns that alternate, the user's first."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": one} for number, one in enumerate(content)]


def test_images_are_data_or_addresses() -> None:
    found = said(
        [
            {"type": "image", "source": PICTURE},
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "text", "text": "what is it?"},
        ]
    )
    assert found[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "text", "text": "what is it?"},
    ]


def test_documents_are_texts_or_files() -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "body"}
    nested = {"type": "content", "content": [{"type": "text", "text": "inner"}]}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    found = said(
        [
            {"type": "document", "source": text, "title": "T", "context": "C"},
            {"type": "document", "source": nested, "citations": {"enabled": False}},
            {"type": "document", "source": pdf},
        ]
    )
    assert found[0]["content"] == [
        {"type": "text", "text": "T\nC\n\nbody"},
        {"type": "text", "text": "inner"},
        {
            "type": "file",
            "file": {
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,JVBERg==",
            },
        },
    ]


def test_a_title_and_a_context_stand_before_what_is_no_text() -> None:
    nested = {"type": "content", "content": [{"type": "image", "source": PICTURE}]}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    found = said(
        [
            {"type": "document", "source": nested, "title": "T"},
            {"type": "document", "source": pdf, "title": "a.pdf", "context": "C"},
        ]
    )[0]["content"]
    assert [part["type"] for part in found] == ["text", "image_url", "text", "file"]
    assert (found[0]["text"], found[2]["text"]) == ("T", "C")
    assert found[3]["file"]["filename"] == "a.pdf"


def test_search_results_are_texts_with_their_source() -> None:
    block = {
        "type": "search_result",
        "source": "https://x",
        "title": "T",
        "content": [{"type": "text", "text": "found"}],
    }
    assert said([block])[0]["content"] == "T\nhttps://x\n\nfound"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "Files API"),
        ({"type": "image", "source": {**PICTURE, "media_type": "image/bmp"}}, "Input should be"),
        ({"type": "image", "source": {"type": "url"}}, "image.source.url: Field required"),
        (
            {"type": "image", "source": PICTURE, "transformations": {"oversized_image": "error"}},
            "resize the image",
        ),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, "base64"),
        (
            {
                "type": "document",
                "source": {"type": "text", "data": "x"},
                "citations": {"enabled": True},
            },
            "leave citations out",
        ),
        ({"type": "image", "source": {"type": "disk"}}, "source.type: Input should be"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "Files API"),
        ({"type": "document", "source": {"type": "disk"}}, "source.type: Input should be"),
        ({"type": "document", "source": {"type": "content"}}, "content: Field required"),
        (
            {"type": "document", "source": {"type": "content", "content": [USE]}},
            "text and image blocks only",
        ),
        (
            {"type": "document", "source": {**PICTURE, "type": "base64"}},
            "base64.media_type: Input should be 'application/pdf'",
        ),
        (
            {
                "type": "search_result",
                "source": "s",
                "title": "t",
                "content": [{"type": "image", "source": PICTURE}],
            },
            "text blocks only",
        ),
        ({"type": "server_tool_use", "id": "x", "name": "y", "input": {}}, "leave the block out"),
        ({"type": "redacted_thinking", "data": "x"}, "leave the block out"),
        ({"type": "thinking", "thinking": "x", "signature": ""}, "cannot stand here"),
        ({"type": "video"}, "Input tag 'video'"),
        ({"text": "a"}, "messages.0.content.0.type: Field required"),
    ],
)
def test_blocks_that_cannot_be_said_are_refused(block: dict[str, Any], message: str) -> None:
    assert refused(block).startswith("messages.0.content.0")
    assert message in refused(block)


def test_the_new_version_is_stricter_about_messages() -> None:
    cited = {"type": "text", "text": "a", "citations": [{"type": "char_location"}]}
    assert "Extra inputs are not permitted" in refused(cited, NEW)
    assert "leave them out" in refused(cited, OLD)
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    messages = conversation("a", [document], "b")
    assert "not permitted in assistant" in refusal(NEW, messages=messages).message
    assert "put it into a user message" in refusal(OLD, messages=messages).message


def test_tools_become_functions() -> None:
    tool = {
        **TOOL,
        "description": "d",
        "strict": True,
        "type": "custom",
        "cache_control": {"type": "ephemeral"},
        "allowed_callers": ["direct"],
    }
    found = chat(tools=[tool], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert found["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "parameters": {"type": "object", "properties": {}},
                "description": "d",
                "strict": True,
            },
        }
    ]
    assert found["tool_choice"] == "required"
    assert found["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_choices_have_their_words(choice: dict[str, Any], word: object) -> None:
    assert chat(tools=[TOOL], tool_choice=choice)["tool_choice"] == word


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({"type": "web_search_20260318", "name": "web_search"}, "Anthropic's own"),
        ({"name": "a b", "input_schema": {"type": "object"}}, "custom.name: String should match"),
        ({"name": "a"}, "tools.0.custom.input_schema: Field required"),
        ({"name": "a", "input_schema": {}}, "input_schema.type: Input should be 'object'"),
        ({**TOOL, "input_examples": [{}]}, "put the examples"),
        ({**TOOL, "defer_loading": True}, "leave it out"),
        ({**TOOL, "allowed_callers": ["code_execution_20260120"]}, "leave it out"),
    ],
)
def test_tools_that_cannot_be_said_are_refused(tool: dict[str, Any], message: str) -> None:
    assert message in refusal(tools=[tool]).message


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"type": "tool"}, "tool_choice.tool.name: Field required"),
        ({"type": "some"}, "tool_choice.type: Input should be one of"),
        ({"name": "look"}, "tool_choice.type: Field required"),
    ],
)
def test_a_choice_that_is_none_is_refused(choice: dict[str, Any], message: str) -> None:
    assert refusal(tools=[TOOL], tool_choice=choice).message.startswith(message)


def test_a_choice_names_a_tool_there_is_and_no_tool_comes_twice() -> None:
    other = {"type": "tool", "name": "other"}
    assert "no tool of this name" in refusal(tools=[TOOL], tool_choice=other).message
    assert refusal(tools=[TOOL, TOOL]).message == "tools.1.name: Tool names must be unique"


def test_calls_and_their_results_are_messages_of_their_own() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny", "is_error": True}
    caller = {"type": "direct"}
    messages = conversation(
        "how is it?",
        [{"type": "text", "text": "let me see"}, {**USE, "caller": caller}],
        [result, {"type": "text", "text": "go on"}],
    )
    assert chat(messages=messages, tools=[TOOL])["messages"][1:] == [
        {
            "role": "assistant",
            "content": "let me see",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "t1",
                    "function": {"name": "look", "arguments": '{"at":1}'},
                }
            ],
        },
        {"role": "tool", "content": "Error: sunny", "tool_call_id": "t1"},
        {"role": "user", "content": "go on"},
    ]


def test_a_result_may_be_empty_or_come_in_blocks() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": blocks, "is_error": True}
    found = chat(messages=conversation("a", [USE], [result]))["messages"][2]
    assert found["content"] == [{"type": "text", "text": "Error:"}, *blocks]
    bare = {"type": "tool_result", "tool_use_id": "t1"}
    assert chat(messages=conversation("a", [USE], [bare]))["messages"][2]["content"] == ""


RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
WORDS = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (("a", [USE]), "messages.1.content.0.tool_use: this tool_use has no tool_result"),
        (("a", [USE], "b"), "messages.1.content.0.tool_use: this tool_use has no tool_result"),
        (([RESULT],), "messages.0.content.0.tool_result.tool_use_id: "),
        (("a", [USE], [WORDS, RESULT]), "messages.2.content.1.tool_result: "),
        (("a", [USE], [RESULT, RESULT]), "messages.2.content.1.tool_result.tool_use_id: "),
        (("a", [USE, USE], [RESULT]), "messages.1.content.1.tool_use.id: "),
        (
            ("a", [{**USE, "caller": {"type": "code_execution_20260120"}}], [RESULT]),
            "messages.1.content.0.tool_use.caller: ",
        ),
        (("a", [{**USE, "toolset_name": "x"}], [RESULT]), "messages.1.content.0.tool_use.tool"),
        (
            ("a", [USE], [{**RESULT, "content": [{"type": "image", "source": PICTURE}]}]),
            "messages.2.content.0.tool_result.content: the result of a tool can hold text only",
        ),
    ],
)
def test_calls_and_results_have_to_match(turns: tuple[Any, ...], message: str) -> None:
    assert refusal(messages=conversation(*turns)).message.startswith(message)


def test_a_system_message_is_no_result_of_a_call() -> None:
    messages = conversation("a", [USE])
    messages += [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert "has no tool_result" in refusal(messages=messages).message
