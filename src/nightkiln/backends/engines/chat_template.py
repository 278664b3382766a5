"""From messages to the one text a model reads, by the template that came with the model.

A template is a program from a stranger: it runs in Jinja's sandbox, sees the
messages and two tokens, and neither clock nor files.
"""

from collections.abc import Sequence
from typing import Any

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.extra import needed
from nightkiln.core.errors import UsageError


class TemplateRefusal(ValueError):
    """The template does not take these messages; its words are the message."""


class ChatTemplate:
    """A compiled chat template. Raises UsageError when it cannot be compiled."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        sandbox, jinja2 = needed("jinja2.sandbox"), needed("jinja2")
        environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        self._errors = (jinja2.TemplateError, TypeError, ValueError, OverflowError)
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template: Any = environment.from_string(source)
        except jinja2.TemplateError as problem:
            raise UsageError(f"the model's chat template is broken: {problem}") from problem

    def render(self, messages: Sequence[Message]) -> str:
        """The model's text for these messages. Raises TemplateRefusal."""
        said = [{"role": message.role, "content": message.text} for message in messages]
        try:
            text: str = self._template.render(
                messages=said, add_generation_prompt=True, **self._tokens
            )
        except self._errors as problem:
            raise TemplateRefusal(str(problem)) from problem
        return text


class PlainText:
    """What stands in for the template of a model that has none: the contents, line by line."""

    def render(self, messages: Sequence[Message]) -> str:
        """The contents of the messages, one after the other."""
        return "\n".join(message.text for message in messages)


def _refuse(message: str) -> None:
    raise TemplateRefusal(message)
