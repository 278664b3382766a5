"""A model on this machine's CPU through OpenVINO GenAI, as a prompt backend.

Rows become token ids here, on the event loop; the pipeline runs on its own
thread. What cannot fit is refused before it reaches the pipeline, which would
cut it or crash. Nothing is ever sent anywhere.
"""

import asyncio
from pathlib import Path
from typing import Final, Protocol

import msgspec

from nightkiln.backends.base import Encoder
from nightkiln.backends.engines.asking import (
    DEFAULT_MAX_TOKENS,
    BodyEncoder,
    EngineSampling,
    engine_sampling,
    parse_asked,
    parse_sampling,
)
from nightkiln.backends.engines.chat_template import ChatTemplate, PlainText, TemplateRefusal
from nightkiln.backends.engines.gguf_file import GGUFMetadata, read_metadata
from nightkiln.backends.engines.gguf_tokenizer import SAMPLES, rebuilt
from nightkiln.backends.engines.machine import Generated, Machine
from nightkiln.backends.engines.openvino_machine import (
    EngineTokenizer,
    OpenVINOMachine,
    Settings,
    asked_of_machine,
)
from nightkiln.backends.engines.pump import CLOSED, TIMEOUT, Pump
from nightkiln.core.answer import Reply
from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.core.job import JobSpec, Sampling
from nightkiln.core.request import Request
from nightkiln.core.usage import Usage
from nightkiln.wire.structured import response_format

DEFAULT_CONTEXT: Final = 2048  # when the model's files do not say
_AHEAD: Final = 2  # rows in the pipeline for each at work: it fills its steps with their prompts
_MAX_CONFIGS: Final = 256  # kinds of sampling remembered


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which model runs here, and within what bounds."""

    model: Path  # a GGUF file or an OpenVINO directory, see `model_files.find_model`
    name: str = ""  # for screens; the file's stem when empty
    kv_cache_gb: int = 1  # memory for what sequences remember
    side_by_side: int = 64  # sequences in one step
    precision: str = "auto"  # or f32, bf16
    queue: int = 4096  # requests that may wait for the engine


class Tokens(Protocol):
    """Text to ids and back."""

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """The ids of a text; of a `whole` prompt also the token it has to begin with."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of ids; control tokens say nothing."""
        ...


class OpenVINOEngine:
    """Answers with a model in this process. `start` loads it; the first answer does so too."""

    is_local = True  # its answers cost nothing

    def __init__(self, settings: EngineSettings) -> None:
        """Reads the model's metadata, not its weights. Raises UsageError, MissingExtra."""
        self._settings = settings
        self._name = settings.name or settings.model.stem
        self._metadata: GGUFMetadata | None = None
        self._tokens: Tokens | None = None
        if settings.model.is_file():
            self._metadata = read_metadata(settings.model)
            self._tokens = rebuilt(self._metadata)
        self.context = self._context()
        self.notices: tuple[str, ...] = ()  # what a user should know, after `start`
        self._template: ChatTemplate | PlainText = PlainText()
        self._stops: frozenset[int] = frozenset()
        self._configs: dict[tuple[bytes, int], tuple[EngineSampling, Settings]] = {}
        self._is_open = True
        self._is_set_up = False
        ahead = _AHEAD * settings.side_by_side
        self.pump = Pump(self._load, side_by_side=ahead, queue=settings.queue)

    def __repr__(self) -> str:
        return f"OpenVINOEngine({self._name!r})"

    @property
    def name(self) -> str:
        """What screens and parts call this engine."""
        return self._name

    @property
    def slots(self) -> int:
        """How many requests to keep in flight, so that the engine never waits for the next."""
        return 4 * self._settings.side_by_side

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes the job's request bodies. Raises UsageError for what cannot be said."""
        sampling = _with_schema(spec)
        said = engine_sampling(sampling)
        if said.max_tokens is not None and said.max_tokens >= self.context:
            raise _too_long(said.max_tokens, self.context)
        return BodyEncoder(spec.prompt.system, sampling).encode

    async def start(self) -> None:
        """Load the model. Raises UsageError when it cannot be loaded, MissingExtra."""
        await self.pump.start()

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The model's reply, or why there is none, by `deadline` (event loop time)."""
        if not self._is_open:
            return CLOSED
        if not self.pump.is_up and (fault := await self._started(deadline)) is not None:
            return fault
        ready = self._prepared(request.body)
        if isinstance(ready, Fault):
            return ready
        ids, said, config = ready
        outcome = await self.pump.ask(ids, config, deadline=deadline)
        if isinstance(outcome, Fault):
            return outcome
        return self._reply(outcome, said, len(ids))

    async def aclose(self) -> None:
        """End the engine's thread and free its memory. Safe to call twice."""
        self._is_open = False
        await self.pump.aclose()

    # -- loading

    def _context(self) -> int:
        if self._metadata is not None:
            return self._metadata.context or DEFAULT_CONTEXT
        try:
            config = msgspec.json.decode((self._settings.model / "config.json").read_bytes())
            return int(config["max_position_embeddings"])
        except (OSError, ValueError, KeyError, TypeError):
            return DEFAULT_CONTEXT

    async def _started(self, deadline: float) -> Fault | None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.pump.start()
        except TimeoutError:
            return TIMEOUT
        except (NightkilnError, RuntimeError, MemoryError, OSError):
            return self.pump.down()
        return None if self._is_open and self._is_set_up else CLOSED

    def _load(self) -> Machine:
        """A new machine; runs on the pump's thread, at first and after every death."""
        settings = self._settings
        machine = OpenVINOMachine(
            settings.model,
            kv_cache_gb=settings.kv_cache_gb,
            side_by_side=settings.side_by_side,
            precision=settings.precision,
        )
        self._set_up(machine.tokenizer, machine.stops)
        assert self._tokens is not None
        machine.decode = self._tokens.decode
        return machine

    def _set_up(self, theirs: EngineTokenizer, stops: frozenset[int]) -> None:
        """Everything that has to be asked of the engine; the same after every load."""
        found = self._metadata
        ends = {found.eos, found.end_of_turn} - {None} if found else set()
        self._stops = stops | ends  # type: ignore[operator]  # None is taken out above
        notices = []
        if self._tokens is None:
            notices.append(f"{self._name}: text is cut into tokens by the engine's own tokenizer")
            self._tokens = theirs
        elif self._tokens is not theirs:
            differing = [s for s in SAMPLES if self._tokens.encode(s) != theirs.encode(s)]
            if differing:
                notices.append(
                    f"{self._name}: the engine would cut {len(differing)} of {len(SAMPLES)} sample"
                    " texts into other tokens than the model's own tokenizer; ours is used"
                )
        template = found.template if found else theirs.template
        if template:
            self._template = ChatTemplate(template, bos=theirs.bos, eos=theirs.eos)
        else:
            notices.append(f"{self._name} has no chat template: it reads the text as it is")
        self.notices = tuple(notices)
        self._is_set_up = True

    # -- one row

    def _prepared(self, body: bytes) -> tuple[list[int], EngineSampling, Settings] | Fault:
        """Ids and settings of a row, or why the engine will not be asked."""
        assert self._tokens is not None
        try:
            asked = parse_asked(body)
            text = self._template.render(asked.messages)
        except (msgspec.MsgspecError, TemplateRefusal) as problem:
            return _refused("bad_messages", str(problem))
        ids = self._tokens.encode(text, whole=True)
        if not ids:
            return _refused("bad_messages", "the prompt is empty")
        how = bytes(asked.sampling)
        said, config = self._config(how, self.context - len(ids))
        if config is None:
            wanted = f" and {said.max_tokens} to generate" if said.max_tokens else ""
            return _refused(
                "context_length_exceeded",
                f"{len(ids)} tokens{wanted} do not fit the model's {self.context}",
            )
        return ids, said, config

    def _config(self, how: bytes, room: int) -> tuple[EngineSampling, Settings | None]:
        """The sampling and the engine's word for it; None where it does not fit the room."""
        known = self._configs.get((how, 0))
        if known is None:
            said = parse_sampling(how)
            limit = said.max_tokens or DEFAULT_MAX_TOKENS
            known = self._remembered((how, 0), said, limit)
        said, config = known
        limit = said.max_tokens or DEFAULT_MAX_TOKENS
        if limit <= room:
            return said, config
        if said.max_tokens is not None or room < 1:
            return said, None
        return self._configs.get((how, room)) or self._remembered((how, room), said, room)

    def _remembered(
        self, key: tuple[bytes, int], said: EngineSampling, limit: int
    ) -> tuple[EngineSampling, Settings]:
        if len(self._configs) >= _MAX_CONFIGS:
            self._configs.clear()
        made = said, asked_of_machine(said, limit, self._stops)
        self._configs[key] = made
        return made

    def _reply(self, ended: Generated, said: EngineSampling, prompt: int) -> Reply | Fault:
        assert self._tokens is not None
        if ended.reason == "exhausted":
            return _refused(
                "kv_cache_exhausted",
                f"{self._settings.kv_cache_gb} GB of --kv-cache-gb do not hold this row",
            )
        ids, reason = ended.ids, ended.reason
        text = self._tokens.decode(ids[:-1] if ids and ids[-1] in self._stops else ids)
        ends = [at for stop in said.stop if (at := text.find(stop)) >= 0]
        if ends:
            text, reason = text[: min(ends)], "stop"
        return Reply(
            text=text,
            finish_reason=reason,
            usage=Usage(input_tokens=prompt, output_tokens=len(ids)),
            model=self._name,
        )


def _refused(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=message[:MESSAGE_LIMIT], sent=False)


def _too_long(max_tokens: int, context: int) -> NightkilnError:
    return UsageError(
        f"--max-tokens is {max_tokens}, but the model holds {context} tokens with the prompt"
    )


def _with_schema(spec: JobSpec) -> Sampling:
    """The sampling with the job's schema in it, the way the wire says it."""
    if spec.output_schema is None:
        return spec.sampling
    asked = msgspec.Raw(response_format(spec.output_schema.encode()))
    extra = {**spec.sampling.extra, "response_format": asked}
    return msgspec.structs.replace(spec.sampling, extra=extra)
