"""OpenVINO GenAI's continuous batching as a machine of steps; lives in an engine's own process."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from nightkiln.backends.engines.asking import EngineSampling, budget
from nightkiln.backends.engines.chat_trial import try_template
from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.gguf_file import read_metadata
from nightkiln.backends.engines.gguf_tokenizer import rebuilt
from nightkiln.backends.engines.json_grammar import UnknownSchema, grammar_of
from nightkiln.backends.engines.machine import NotTaken, words_of
from nightkiln.backends.engines.messages import Ask, Ended, Learn, Load, Loaded
from nightkiln.backends.engines.model_files import GGUF
from nightkiln.core.errors import UsageError

_NO_TOKEN: Final = 2**31 - 1  # of any vocabulary
_MAX_CONFIGS: Final = 256  # of the engine's own form of a way of sampling


class Running:
    """One request in the pipeline.

    One with stop strings is read as it goes on. The pipeline's own stop strings
    end at token borders: it either takes text before the stop string away or
    leaves a piece of it. So we look ourselves.
    """

    __slots__ = ("handle", "ids", "logprobs", "prompt", "reason", "said", "window")

    def __init__(self, handle: Any, said: EngineSampling, prompt: int) -> None:
        self.handle = handle
        self.said = said
        self.prompt = prompt  # its tokens
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.reason: Any = None
        # A stop string of n bytes lies in at most n tokens; a few more to decode them by.
        self.window = max((len(text.encode()) for text in said.stop), default=0) + 4

    def read(self) -> None:
        """Take what has been generated since it was last read.

        Never by `read_all`: for a request still running it waits, holding the interpreter.
        """
        handle = self.handle
        while handle.can_read():
            for output in handle.read().values():
                self.ids += output.generated_ids
                self.reason = output.finish_reason
                if self.said.logprobs:
                    self.logprobs += output.generated_log_probs


class OpenVINOMachine:
    """A loaded pipeline. Raises UsageError when the model cannot be loaded."""

    def __init__(self, load: Load) -> None:
        if load.template:
            try_template(load.template)
        genai = needed("openvino_genai")
        scheduler = genai.SchedulerConfig()
        if load.kv_blocks is None:
            scheduler.cache_size = load.kv_cache_gb
        else:
            scheduler.num_kv_blocks = load.kv_blocks
        scheduler.max_num_seqs = load.side_by_side
        scheduler.enable_prefix_caching = True
        hint = load.precision if load.precision != "auto" else best_precision()
        properties = {"INFERENCE_PRECISION_HINT": hint, **load.properties}
        try:
            with _under_its_usual_name(Path(load.model)) as model:
                self._pipeline = genai.ContinuousBatchingPipeline(
                    model, scheduler, "CPU", properties
                )
        except (RuntimeError, LookupError, ValueError, OverflowError) as problem:
            raise UsageError(f"{load.model} cannot be loaded: {words_of(problem)}") from problem
        self._load = load
        self._tokens = EngineTokenizer(self._pipeline.get_tokenizer())
        if not load.own_tokens and not self._tokens.works:
            raise UsageError(
                f"{load.model} holds no tokenizer that works",
                hint="export the model together with its openvino_tokenizer.xml",
            )
        if not load.template and self._tokens.template:
            try_template(self._tokens.template)
        config = self._pipeline.get_config()
        self._names_no_end = config.eos_token_id < 0
        known = {*config.stop_token_ids, config.eos_token_id, *load.stops} - {-1}
        self._stops = frozenset(known)
        self._learned: dict[int, EngineSampling] = {}
        self._configs: dict[tuple[int, int], Any] = {}
        self._running: dict[int, Running] = {}
        self._stoppable: dict[int, Running] = {}  # of those, the ones with stop strings
        self._alive = genai.GenerationStatus.RUNNING
        self._exhausted = genai.GenerationStatus.IGNORED
        self._length = genai.GenerationFinishReason.LENGTH
        self._tensor = needed("openvino").Tensor
        self._numpy = needed("numpy")

    def loaded(self) -> Loaded:
        """What only the engine knows about its model."""
        tokens = self._tokens
        return Loaded(
            template=tokens.template,
            bos=tokens.bos,
            eos=tokens.eos,
            stops=tuple(self._stops),
            samples=tuple(tuple(tokens.encode(text)) for text in self._load.samples),
        )

    def learn(self, learn: Learn) -> None:
        """Remember a way of sampling."""
        self._learned[learn.number] = learn.sampling

    def forget(self, numbers: list[int]) -> None:
        """These ways of sampling will not be named again."""
        for number in numbers:
            del self._learned[number]
        self._configs.clear()

    def begin(self, ask: Ask) -> None:
        """Take a request in. Raises NotTaken for what does not fit or the pipeline refuses."""
        numpy, said = self._numpy, self._learned[ask.sampling]
        if self._load.own_tokens:
            ids = numpy.frombuffer(ask.ids, dtype=numpy.int64)
        else:
            ids = numpy.array(self._tokens.encode(ask.text, whole=True), dtype=numpy.int64)
        prompt = len(ids)
        if not prompt:
            raise NotTaken("bad_messages", "the prompt is empty")
        limit = budget(said, prompt, self._load.context)
        if limit is None:
            wanted = f" and {said.max_tokens} to generate" if said.max_tokens else ""
            raise NotTaken(
                "context_length_exceeded",
                f"{prompt} tokens{wanted} do not fit the model's {self._load.context}",
            )
        try:
            config = self._config(ask.sampling, said, limit)
            tensor = self._tensor(ids.reshape(1, prompt))
            handle = self._pipeline.add_request(ask.number, tensor, config)
        except (RuntimeError, UnknownSchema) as problem:
            raise NotTaken("engine_refused", words_of(problem)) from problem
        running = self._running[ask.number] = Running(handle, said, prompt)
        if said.stop:
            self._stoppable[ask.number] = running

    def _config(self, number: int, said: EngineSampling, limit: int) -> Any:
        if (known := self._configs.get((number, limit))) is not None:
            return known
        if len(self._configs) >= _MAX_CONFIGS:
            self._configs.clear()
        config = self._configs[number, limit] = generation_config(said, limit, self._stops)
        if self._names_no_end:  # the pipeline would add its own, which is no token
            config.set_eos_token_id(min(self._stops, default=_NO_TOKEN))
        return config

    def step(self) -> None:
        """Bring every request one token further, or its prompt some way."""
        self._pipeline.step()

    def finished(self) -> list[Ended]:
        """The requests that have ended."""
        alive = self._alive
        if self._stoppable:
            self._stop()
        over = [n for n, running in self._running.items() if running.handle.get_status() != alive]
        return [self._ended(number) for number in over]

    def _stop(self) -> None:
        """Stop requests that have just said one of their stop strings."""
        for running in self._stoppable.values():
            running.read()
            if running.handle.get_status() == self._alive:
                tail = self._decode(running.ids[-running.window :])
                if any(stop in tail for stop in running.said.stop):
                    running.handle.stop()

    def _ended(self, number: int) -> Ended:
        running = self._running.pop(number)
        self._stoppable.pop(number, None)
        running.read()
        ids = running.ids
        if running.handle.get_status() == self._exhausted:
            return Ended(number, [], "exhausted", running.prompt)
        reason = "length" if running.reason == self._length else "stop"
        if self._load.own_tokens:
            return Ended(number, ids, reason, running.prompt, running.logprobs)
        said = ids[:-1] if ids and ids[-1] in self._stops else ids
        text, decode = self._tokens.decode(said), self._tokens.decode
        pieces = [decode([one]) for one in ids] if running.said.logprobs else []
        return Ended(number, ids, reason, running.prompt, running.logprobs, text, pieces)

    def cancel(self, number: int) -> None:
        """Give up a request; its memory is free after the next step."""
        running = self._running.pop(number, None)
        self._stoppable.pop(number, None)
        if running is not None:
            running.handle.cancel()

    @functools.cached_property
    def _decode(self) -> Callable[[list[int]], str]:
        """What turns ids into text as the owner does."""
        if self._load.own_tokens and (own := rebuilt(read_metadata(Path(self._load.model)))):
            return own.decode
        return self._tokens.decode


class EngineTokenizer:
    """The tokenizer that came with the pipeline, for models whose own we do not rebuild."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.template: str = tokenizer.get_original_chat_template() or tokenizer.chat_template
        self.bos: str = tokenizer.get_bos_token()
        self.eos: str = tokenizer.get_eos_token()

    @property
    def works(self) -> bool:
        """False for a model that came without its tokenizer."""
        try:
            self.encode("a")
        except RuntimeError:
            return False
        return True

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """The ids of a text. A template writes its own first token, so none is added."""
        special = whole and not (self.bos and text.startswith(self.bos))
        encoded = self._tokenizer.encode(text, add_special_tokens=special)
        return [int(number) for number in encoded.input_ids.data[0]]

    def decode(self, ids: list[int]) -> str:
        """The text of ids; control tokens say nothing."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


@contextlib.contextmanager
def _under_its_usual_name(model: Path) -> Iterator[Path]:
    """The engine knows a GGUF file by the small letters its name ends with, and by nothing else."""
    if model.is_dir() or model.suffix == GGUF:
        yield model
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"{model.stem}{GGUF}"
        link.symlink_to(model.resolve())
        yield link


def best_precision() -> str:
    """bf16 where this CPU computes in it, four times as quick as f32; else f32."""
    able = needed("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in able else "f32"


def generation_config(said: EngineSampling, max_tokens: int, stops: frozenset[int]) -> Any:
    """What the engine is told of this sampling. Shared by all rows that sample alike."""
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
    if said.logprobs:
        config.logprobs = 1
    if said.schema is not None:
        structured = genai.StructuredOutputConfig
        config.structured_output_config = structured(grammar=grammar_of(said.schema))
    return config
