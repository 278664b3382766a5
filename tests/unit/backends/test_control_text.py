"""Control tokens' texts in what rows say."""

from pathlib import Path

import msgspec
import pytest

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.control_text import ControlTexts, broken, control_texts_of, shown

CONTROL = ControlTexts(["<|end|>", "<|end|>x", "<s>", "a"])


@pytest.mark.parametrize("text", ["", "plain", "<|en", "< s >", "a"])
def test_ordinary_messages_are_left_alone(text: str) -> None:
    said = [Message("user", text)]
    hidden = CONTROL.hidden(said)
    assert hidden.messages is said
    assert hidden.letters == {}


def test_what_is_hidden_is_shown_again() -> None:
    said = [Message("user", "<|end|>x and <s>\U00100000"), Message("<|end|>", "y")]
    hidden = CONTROL.hidden(said)
    text = "".join(
        one.role + one.content for one in hidden.messages if isinstance(one.content, str)
    )
    assert "<" not in text
    assert set(hidden.letters.values()) == {"<|end|>", "<|end|>x", "<s>"}
    assert "\U00100000" not in hidden.letters
    assert shown(text, hidden.letters) == "user<|end|>x and <s>\U00100000<|end|>y"
    assert broken(text, hidden.letters) == (
        "user<\u200b|end|>x and <\u200bs>\U00100000<\u200b|end|>y"
    )


def test_every_second_piece_is_a_control_text() -> None:
    assert CONTROL.pieces("u<s><|end|>x.") == ["u", "<s>", "", "<|end|>x", "."]


def test_the_control_tokens_beside_a_model_are_those_its_files_call_special(tmp_path: Path) -> None:
    assert control_texts_of(tmp_path) == []
    tokens = [{"content": "<s>", "special": True}, {"content": "<b>", "special": False}]
    (tmp_path / "tokenizer.json").write_bytes(msgspec.json.encode({"added_tokens": tokens}))
    (tmp_path / "tokenizer_config.json").write_bytes(
        msgspec.json.encode({"added_tokens_decoder": {"1": {"content": "</s>", "special": True}}})
    )
    assert control_texts_of(tmp_path) == ["<s>", "</s>"]
    (tmp_path / "tokenizer.json").write_text("[")
    assert control_texts_of(tmp_path) == ["</s>"]
