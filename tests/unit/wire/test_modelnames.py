"""Which names of a reply's model are the asked one's."""

import pytest

from nightkiln.wire.modelnames import is_same_model


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("mistral-large-latest", "mistral-large-2411"),
        ("gemini-2.0-flash", "gemini-2.0-flash-001"),
        ("text-embedding-ada-002", "text-embedding-ada-002-v2"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2", "llama3.2:3b"),
        ("tiny", "/models/tiny.gguf"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
    ],
)
def test_a_dated_tagged_or_shortened_name_is_the_same_model(asked: str, answered: str) -> None:
    assert is_same_model(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20"),
        ("gpt-4", "gpt-4.1"),
        ("gpt-4", "gpt-4-turbo"),
        ("claude-3", "claude-3-5"),
        ("llama-3-70b", "llama-3-8b"),
        ("llama3:70b", "llama3:8b"),
        ("m-1", "n-1"),
        ("m", "m-fp8"),
        ("m/", "n"),
        ("/", "m"),
    ],
)
def test_any_other_name_is_another_model(asked: str, answered: str) -> None:
    assert not is_same_model(asked, answered)
