"""OpenVINO GenAI's continuous batching as a machine of steps, and its tokenizer.

Only the thread that loads it touches the pipeline; the tokenizer may be used by any.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nightkiln.backends.engines.asking import EngineSampling
from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.json_grammar import UnknownSchema, grammar_of
from nightkiln.backends.engines.machine import Generated, Handle
from nightkiln.core.errors import UsageError


class Settings(msgspec.Struct, frozen=True):
    """How one request is sampled, and the texts at which it ends."""

    config: Any  # a GenerationConfig
    stop: tuple[str, ...] = ()


class Watched:
    """A request with stop strings: its tokens are read as they come.

    The pipeline's own stop strings end at token borders: it either takes text
    before the stop string away or leaves a piece of it. So we look ourselves.
    """

    __slots__ = ("ids", "reason", "stop", "window")

    def __init__(self, stop: tuple[str, ...]) -> None:
        self.ids: list[int] = []
        self.reason: Any = None
        self.stop = stop
        # A stop string of n bytes lies in at most n tokens; a few more to decode them by.
        self.window = max(len(text.encode()) for text in stop) + 4


class OpenVINOMachine:
    """A loaded pipeline."""

    def __init__(
        self, path: Path, *, kv_cache_gb: int, side_by_side: int, precision: str, **more: Any
    ) -> None:
        genai = needed("openvino_genai")
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = kv_cache_gb
        scheduler.max_num_seqs = side_by_side
        scheduler.enable_prefix_caching = True
        hint = precision if precision != "auto" else best_precision()
        properties = {"INFERENCE_PRECISION_HINT": hint, **more}
        try:
            self._pipeline = genai.ContinuousBatchingPipeline(
                str(path), scheduler, "CPU", properties
            )
        except RuntimeError as problem:
            raise UsageError(f"{path} cannot be loaded: {_last_line(problem)}") from problem
        self.tokenizer = EngineTokenizer(self._pipeline.get_tokenizer())
        config = self._pipeline.get_config()
        self.stops = frozenset({*config.stop_token_ids, config.eos_token_id} - {-1})
        self.decode: Callable[[list[int]], str] = self.tokenizer.decode
        self._watched: dict[Handle, Watched] = {}
        self._numbers = itertools.count()
        self._running = genai.GenerationStatus.RUNNING
        self._exhausted = genai.GenerationStatus.IGNORED
        self._length = genai.GenerationFinishReason.LENGTH
        self._tensor = needed("openvino").Tensor
        self._array = needed("numpy").array
        self._int64 = needed("numpy").int64

    def begin(self, ids: Sequence[int], settings: Any) -> Handle:
        """Take a request in. Raises ValueError for settings the pipeline refuses."""
        tensor = self._tensor(self._array([ids], dtype=self._int64))
        try:
            handle = self._pipeline.add_request(next(self._numbers), tensor, settings.config)
        except RuntimeError as problem:
            raise ValueError(_last_line(problem)) from problem
        if settings.stop:
            self._watched[handle] = Watched(settings.stop)
        return handle

    def step(self) -> None:
        """Bring every request one token further, or its prompt some way."""
        self._pipeline.step()

    def finished(self, handles: Sequence[Handle]) -> list[tuple[Handle, Generated]]:
        """Those of these requests that have ended."""
        running = self._running
        if self._watched:
            self._stop_watched()
        ended = [handle for handle in handles if handle.get_status() != running]
        return [(handle, self._generated(handle)) for handle in ended]

    def _stop_watched(self) -> None:
        """Stop requests that have just said one of their stop strings."""
        for handle, watched in self._watched.items():
            _read(handle, watched)
            if handle.get_status() == self._running:
                tail = self.decode(watched.ids[-watched.window :])
                if any(stop in tail for stop in watched.stop):
                    handle.stop()

    def _generated(self, handle: Handle) -> Generated:
        watched = self._watched.pop(handle, None) or Watched(("",))
        _read(handle, watched)
        if handle.get_status() == self._exhausted:
            return Generated([], "exhausted")
        return Generated(watched.ids, "length" if watched.reason == self._length else "stop")

    def cancel(self, handle: Handle) -> None:
        """Give up a request; its memory is free after the next step."""
        self._watched.pop(handle, None)
        handle.cancel()


def _read(handle: Handle, watched: Watched) -> None:
    """Take what a request has generated since it was last read.

    Never by `read_all`: for a request still running it waits, holding the interpreter.
    """
    while handle.can_read():
        for output in handle.read().values():
            watched.ids += output.generated_ids
            watched.reason = output.finish_reason


class EngineTokenizer:
    """The tokenizer that came with the pipeline, for models whose own we do not rebuild."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.template: str = tokenizer.get_original_chat_template() or tokenizer.chat_template
        self.bos: str = tokenizer.get_bos_token()
        self.eos: str = tokenizer.get_eos_token()

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """The ids of a text. A template writes its own first token, so none is added."""
        return self._ids(text, special=whole and not (self.bos and text.startswith(self.bos)))

    def _ids(self, text: str, *, special: bool) -> list[int]:
        encoded = self._tokenizer.encode(text, add_special_tokens=special)
        return [int(number) for number in encoded.input_ids.data[0]]

    def decode(self, ids: list[int]) -> str:
        """The text of ids; control tokens say nothing."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


def best_precision() -> str:
    """bf16 where this CPU computes in it, four times as quick as f32; else f32."""
    able = needed("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in able else "f32"


def asked_of_machine(said: EngineSampling, max_tokens: int, stops: frozenset[int]) -> Settings:
    """What the machine is told of this sampling. Shared by all rows that sample alike."""
    return Settings(_generation_config(said, max_tokens, stops), said.stop)


def _generation_config(said: EngineSampling, max_tokens: int, stops: frozenset[int]) -> Any:
    genai = needed("openvino_genai")
    config = genai.GenerationConfig(
        max_new_tokens=max_tokens,
        ignore_eos=said.ignore_eos,
        repetition_penalty=said.repetition_penalty,
        presence_penalty=said.presence_penalty,
        frequency_penalty=said.frequency_penalty,
        apply_chat_template=False,
    )
    if not said.ignore_eos:
        config.stop_token_ids = set(stops)
    if said.temperature > 0:
        config.do_sample = True
        config.temperature = said.temperature
        config.top_p = said.top_p
        config.rng_seed = said.seed
        if said.top_k is not None:
            config.top_k = said.top_k
    if said.schema is not None:
        config.structured_output_config = _structured(said.schema)
    return config


def _structured(schema: str) -> Any:
    """A grammar with bounded white space, or the engine's own reading where ours is too small."""
    structured = needed("openvino_genai").StructuredOutputConfig
    try:
        return structured(grammar=grammar_of(schema))
    except UnknownSchema:
        return structured(json_schema=schema)


def _last_line(problem: BaseException) -> str:
    """What the engine says, less the paths of its own sources."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2] if lines else type(problem).__name__
