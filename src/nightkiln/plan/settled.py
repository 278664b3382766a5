"""Whether two identical requests have, by their own words, the same answer.

Only then may one answer serve both without being asked: an explicit temperature
of 0, an explicit seed, or an embedding. A temperature that is left out is the
model's own, and answers then differ for good reason.
"""

from typing import Final

import msgspec

from nightkiln.core.job import JobSpec, Task
from nightkiln.core.request import Prompt, WireBody
from nightkiln.core.reuse import Dedupe


class _Said(msgspec.Struct):
    """What a body says of chance; anything that is no number says nothing."""

    temperature: object = None
    seed: object = None


_decode: Final = msgspec.json.Decoder(_Said).decode


class Settled:
    """Tells which rows of a job may share an answer."""

    def __init__(self, spec: JobSpec, dedupe: Dedupe) -> None:
        said = {name: _value(raw) for name, raw in spec.sampling.extra.items()}
        temperature = spec.sampling.temperature
        seed = spec.sampling.seed
        self._always = dedupe is Dedupe.ALWAYS or spec.task is Task.EMBEDDING
        self._tables = self._always or _is_settled(
            said.get("temperature") if temperature is None else temperature,
            said.get("seed") if seed is None else seed,
        )
        self.never = dedupe is Dedupe.NEVER

    @property
    def is_possible(self) -> bool:
        """False where no row of a table could share; lines of a batch speak for themselves."""
        return not self.never and self._tables

    def holds(self, prompt: Prompt) -> bool:
        """True for a row whose answer may be that of an identical one."""
        if self.never:
            return False
        if self._always or not isinstance(prompt, WireBody):
            return self._tables
        try:
            said = _decode(prompt.json)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return _is_settled(said.temperature, said.seed)


def _is_settled(temperature: object, seed: object) -> bool:
    return (_is_number(temperature) and temperature == 0) or _is_number(seed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_worthwhile(spec: JobSpec, dedupe: Dedupe) -> bool:
    """False for a job none of whose rows may share: it pays for nothing of this."""
    settled = Settled(spec, dedupe)
    return settled.is_possible or (spec.source.batch is not None and not settled.never)
