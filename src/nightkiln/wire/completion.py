"""OpenAI completions: a text that goes on, and what a 200 says it went on to. Pure."""

from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt, WireBody
from nightkiln.wire.choices import Choice, Choices, parse_choices
from nightkiln.wire.mishaps import broken, used_up, withheld
from nightkiln.wire.passing import body_for
from nightkiln.wire.sampling import RESERVED, ROWS, encode, fields_of, head_of

PATH: Final = "/completions"
_RESERVED: Final = {**RESERVED, "prompt": ROWS.format("the prompt")}


class CompletionEncoder:
    """Turns one job's rows into request bodies. Raises UsageError for settings it cannot say."""

    __slots__ = ("_head", "_model")

    def __init__(self, model: str, sampling: Sampling) -> None:
        self._model = encode(model)
        fields = {"model": self._model, **fields_of(sampling, reserved=_RESERVED)}
        self._head = head_of(fields) + b'"prompt":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row, whose text is the prompt."""
        if isinstance(prompt, str):
            return b"%b%b}" % (self._head, encode(prompt))
        if isinstance(prompt, WireBody):
            return body_for(prompt, self._model)
        raise UsageError("a completion goes on from a text, not from messages")


class _Choice(Choice):
    text: str | None = None


_decode: Final = msgspec.json.Decoder(Choices[_Choice]).decode


def parse_completion(body: bytes, *, keep_body: bool = False) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises.

    A model may have nothing to add: an empty text that ended by itself is an answer.
    """
    return parse_choices(_decode, _text, body, keep_body=keep_body)


def _text(choice: _Choice, body: bytes) -> str | Fault:
    finish = choice.finish_reason or ""
    if finish == "content_filter":
        return withheld("content_filter", "the output was stopped by a content filter")
    if choice.text is None:
        return broken("no_text", body)
    if choice.text or finish == "stop":
        return choice.text
    if finish == "length":
        return used_up()
    return broken("error_in_200" if finish == "error" else "empty_content", body)
