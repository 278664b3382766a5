"""From messages to the one text a model reads, by the template that came with the model.

A template is a program from a stranger: it runs in the sandbox of `chat_sandbox`
and sees the messages and a few words about the model, and neither clock nor
files. What it knows beyond plain Jinja is what Hugging Face's renderer gives to
templates, for which they are written.

It runs on the event loop, row by row, so it has to end. Loops and macros have a
budget here; what else a template may waste is found once, when the engine's own
process tries it under limits of time and memory (`chat_trial.py`) before any
row is beside it.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, cast

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.chat_refusals import Endless, Raised, TemplateRefusal
from nightkiln.backends.engines.extra import needed
from nightkiln.core.errors import UsageError

TURNS: Final = 200_000  # of loops and macros, for one row
_SAMPLE_TEXT: Final = 1 << 18  # characters of a small chat, with all that a template adds
_SAMPLES: Final = (
    (Message("user", "Hello"),),
    (Message("system", "Be brief."), Message("user", "Hello")),
)


class ChatTemplate:
    """A compiled chat template. Raises UsageError when it cannot be compiled.

    `now` is the time that a template is told when it asks; it stays the same for all rows.
    """

    def __init__(
        self, source: str, *, bos: str = "", eos: str = "", now: dt.datetime | None = None
    ) -> None:
        jinja2 = needed("jinja2")
        from nightkiln.backends.engines.chat_sandbox import Budget, compiled

        self._budget = Budget(TURNS)
        self._errors = (
            jinja2.TemplateError,
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            MemoryError,
            RuntimeError,  # RecursionError among them
            TypeError,
            ValueError,
        )
        self._given = {
            "add_generation_prompt": True,
            "bos_token": bos,
            "eos_token": eos,
            "tools": None,
            "documents": None,
        }
        try:
            self._template: Any = compiled(source, self._budget, now or fixed_now())
        except (*self._errors, SyntaxError) as problem:
            raise UsageError(
                f"the model's chat template is broken: {_words(problem)}", hint=_HINT
            ) from problem

    def render(self, messages: Sequence[Message]) -> str:
        """The model's text for these messages. Raises TemplateRefusal."""
        try:
            return self._text(messages)
        except TemplateRefusal:
            raise
        except self._errors as problem:
            raise TemplateRefusal(f"the model's chat template: {_words(problem)}") from problem

    def try_out(self) -> None:
        """Render two small chats. Raises UsageError for a template that can render neither.

        One that says itself what it does not take is fine: its rows are told so.
        """
        problems = [problem for chat in _SAMPLES if (problem := self._problem(chat)) is not None]
        endless = [problem for problem in problems if isinstance(problem, Endless)]
        if endless or len(problems) == len(_SAMPLES):
            problem = (endless or problems)[0]
            raise UsageError(
                f"the model's chat template fails: {_words(problem)}", hint=_HINT
            ) from problem

    def _problem(self, messages: Sequence[Message]) -> Exception | None:
        try:
            text = self._text(messages)
        except Raised:
            return None
        except self._errors as problem:
            return cast("Exception", problem)
        if len(text) > _SAMPLE_TEXT:
            return Endless(f"it makes {len(text):,} characters of a word")
        return None

    def _text(self, messages: Sequence[Message]) -> str:
        said = [{"role": message.role, "content": message.text} for message in messages]
        self._budget.left = TURNS
        text: str = self._template.render(messages=said, **self._given)
        return text


_HINT: Final = "another file of the model may have a working template"


class PlainText:
    """What stands in for the template of a model that has none: the contents, line by line."""

    def render(self, messages: Sequence[Message]) -> str:
        """The contents of the messages, one after the other."""
        return "\n".join(message.text for message in messages)


def fixed_now() -> dt.datetime:
    """The time here, to be told to every row alike."""
    return dt.datetime.now(dt.UTC).astimezone()


def _words(problem: BaseException) -> str:
    said = str(problem)
    if isinstance(problem, LookupError) or not said:
        return f"{type(problem).__name__} {said}".strip()
    return said
