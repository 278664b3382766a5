"""How many tokens a chat is for a model of this server, without asking the model.

A model that runs here is asked through its own tokenizer, which lies in its file.
What an endpoint's tokenizer does nobody here can know: there the tokens per byte that
earlier jobs with the model took stand for it, and a default where there are none. So
that is an estimate, and it is one on the high side for pictures and files.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nightkiln.app.choice import PILOT
from nightkiln.app.servedmodels import is_on_this_machine
from nightkiln.backends.engines.counting import counter_of
from nightkiln.backends.engines.model_files import HUB, find_model
from nightkiln.config import Settings
from nightkiln.core.errors import MissingExtra, UsageError
from nightkiln.core.ids import ProjectId
from nightkiln.core.job import JobSpec, PromptSpec, SourceSpec
from nightkiln.core.request import Prompt, WireBody
from nightkiln.plan.estimate import DEFAULT_FRAME, DEFAULT_TOKENS_PER_BYTE, tokens_per_byte
from nightkiln.service.answering import Served
from nightkiln.service.calibration import calibrate
from nightkiln.service.context import Context
from nightkiln.tables.batch_in import BATCH
from nightkiln.wire.passing import chat_of

Count = Callable[[Prompt], int]

_EXACT_BYTES: Final = 1 << 20  # of a chat; a longer one fits no model that runs here
_KEPT_S: Final = 300.0  # that what earlier jobs say is believed
_MOST: Final = 256  # models of projects that are kept in mind
_DATA: Final = re.compile(rb'"data:[^"]*"')
_DATA_TOKENS: Final = 1600  # of a picture or file inside a chat: what a large picture may be


class TokenCounting:
    """Counts the tokens of chats for the models of settings that do not change."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._one = asyncio.Lock()  # tokenizers are used by one thread at a time
        self._counters: dict[str, Count | None] = {}
        self._ratios: dict[tuple[ProjectId, str], tuple[float, float | None]] = {}

    async def count(self, context: Context, served: Served, chat: WireBody) -> int:
        """The tokens of a chat for a model. Raises DiskError."""
        if len(chat.json) <= _EXACT_BYTES and is_on_this_machine(served.order, self._settings):
            async with self._one:
                found = await asyncio.to_thread(self._counted, served.model, chat)
            if found:
                return found
        return await self._estimated(context, served.model, chat)

    def _counted(self, model: str, chat: WireBody) -> int:
        """By the model's own tokenizer; 0 where that cannot be said. Blocking."""
        if model not in self._counters:
            self._counters[model] = _counter(model)
        count = self._counters[model]
        if count is None:
            return 0
        try:
            messages, _ = chat_of(chat)
        except UsageError:  # sampling that no engine takes; its row will say so
            return 0
        return count(messages)

    async def _estimated(self, context: Context, model: str, chat: WireBody) -> int:
        words, files = _DATA.subn(b'""', chat.json)
        seen = await self._ratio(context, model)
        if seen is None:
            likely = DEFAULT_TOKENS_PER_BYTE.likely * len(words) + DEFAULT_FRAME.likely
        else:
            likely = seen * len(words)
        return max(1, math.ceil(likely)) + files * _DATA_TOKENS

    async def _ratio(self, context: Context, model: str) -> float | None:
        """Tokens per byte of earlier jobs with a model; None where there are none."""
        key, now = (context.project, model), self._clock()
        kept = self._ratios.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        source = SourceSpec(kind=BATCH, path="", name="", size_bytes=0, sha256="")
        spec = JobSpec(source=source, prompt=PromptSpec(), model=model)
        seen = (await calibrate(context, spec)).seen
        pairs = [(one.prompt_bytes, one.input_tokens) for one in seen if one.prompt_bytes]
        found = tokens_per_byte(pairs).likely if pairs else None
        if len(self._ratios) >= _MOST:
            self._ratios.clear()
        self._ratios[key] = now + _KEPT_S, found
        return found


def _counter(model: str) -> Count | None:
    """What counts by the tokenizer of a model's file; None where there is none to be had."""
    if model.startswith(HUB):  # counting fetches no model
        return None
    try:
        return counter_of(_file_of(model), system=None)
    except (MissingExtra, UsageError):
        return None


def _file_of(model: str) -> Path:
    if model != PILOT:
        return find_model(model)
    from nightkiln import pilot

    return pilot.path()
