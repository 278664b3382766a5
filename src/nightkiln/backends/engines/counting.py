"""How many tokens a model would read for a row, told from its file alone: no weights are loaded."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from nightkiln.backends.engines.asking import BodyEncoder, EngineSampling, parse_asked
from nightkiln.backends.engines.chat_refusals import TemplateRefusal
from nightkiln.backends.engines.chat_template import ChatTemplate, PlainText
from nightkiln.backends.engines.gguf_file import GGUFMetadata, read_metadata
from nightkiln.backends.engines.gguf_tokenizer import rebuilt
from nightkiln.core.request import Prompt


def counter_of(model: Path, *, system: str | None) -> Callable[[Prompt], int] | None:
    """What counts the tokens of prompts as the engine will; None for a model it cannot be told of.

    A prompt that the model's template refuses counts as 0: it is never asked.
    Raises MissingExtra, UsageError for a broken file.
    """
    if not model.is_file():
        return None
    metadata = read_metadata(model)
    tokens = rebuilt(metadata)
    if tokens is None:
        return None
    template = _template(metadata)
    encode = BodyEncoder(system, EngineSampling()).encode

    def count(prompt: Prompt) -> int:
        try:
            text = template.render(parse_asked(encode(prompt)).messages)
        except (msgspec.MsgspecError, TemplateRefusal):
            return 0
        return len(tokens.encode(text, whole=True))

    return count


def _template(metadata: GGUFMetadata) -> ChatTemplate | PlainText:
    if not metadata.template:
        return PlainText()

    def text(number: int | None) -> str:
        return metadata.tokens[number] if number is not None else ""

    return ChatTemplate(metadata.template, bos=text(metadata.bos), eos=text(metadata.eos))
