"""A model on this machine's CPU through OpenVINO GenAI, as a prompt backend.

Rows become token ids here, on the event loop, while the pipeline computes in a
process of its own (`child.py` says why). What cannot fit is refused before it
reaches the pipeline, which would cut it or crash. A schema is tried before any
row, because a pipeline that cannot compile it is gone. Nothing is ever sent
anywhere.
"""

import asyncio
from array import array
from typing import Final

import msgspec

from nightkiln.backends.base import Encoder
from nightkiln.backends.engines import kvcache
from nightkiln.backends.engines.asking import (
    BodyEncoder,
    EngineSampling,
    engine_sampling,
    parse_asked,
    parse_sampling,
    with_larger_budget,
)
from nightkiln.backends.engines.base import Deaths, EngineSettings
from nightkiln.backends.engines.chat_refusals import TemplateRefusal
from nightkiln.backends.engines.chat_template import ChatTemplate, PlainText, fixed_now
from nightkiln.backends.engines.control_text import (
    ControlTexts,
    broken,
    control_texts_of,
)
from nightkiln.backends.engines.gguf_file import GGUFMetadata, read_metadata
from nightkiln.backends.engines.gguf_tokenizer import SAMPLES, OwnTokenizer, rebuilt
from nightkiln.backends.engines.json_grammar import UnknownSchema, grammar_of
from nightkiln.backends.engines.messages import Ended, Load, Loaded
from nightkiln.backends.engines.pump import CLOSED, TIMEOUT, Pump
from nightkiln.backends.engines.reply_body import Token, chat_completion
from nightkiln.backends.engines.ticket import Kind, Ticket
from nightkiln.core.answer import Reply
from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.core.job import JobSpec, Sampling
from nightkiln.core.request import Request
from nightkiln.core.usage import Usage
from nightkiln.wire.structured import response_format

MACHINE: Final = "nightkiln.backends.engines.openvino_machine:OpenVINOMachine"
DEFAULT_CONTEXT: Final = 2048  # when the model's files do not say
TRIAL_S: Final = 300.0  # for an engine to compile a schema
_TRIAL_TEXT: Final = "a"
_SLOTS: Final = 8  # rows in flight for each at work: they last while this process is busy
_MAX_KINDS: Final = 256  # ways of sampling remembered
_SHOWN: Final = 80  # characters of a schema in a message


class OpenVINOEngine:
    """Answers with a model on this machine. `start` loads it; the first answer does so too."""

    is_local = True  # its answers cost nothing

    def __init__(self, settings: EngineSettings) -> None:
        """Reads the model's metadata, not its weights. Raises UsageError, MissingExtra."""
        self._settings = settings
        self._name = settings.name or settings.model.stem
        self._metadata: GGUFMetadata | None = None
        self._tokens: OwnTokenizer | None = None
        if settings.model.is_file():
            self._metadata = read_metadata(settings.model)
            self._tokens = rebuilt(self._metadata)
        control = self._metadata.control if self._metadata else control_texts_of(settings.model)
        self._control = ControlTexts(control)
        self.context = self._context()
        self.notices: tuple[str, ...] = ()  # what a user should know, after `start`
        self._template: ChatTemplate | PlainText = PlainText()
        self._now = fixed_now()  # for templates that ask; it stays when an engine restarts
        self._stops: frozenset[int] = frozenset()
        self._kinds: dict[bytes, Kind] = {}
        self._kind_count = 0
        self._is_open = True
        self.pump = Pump(self.load(), side_by_side=self.slots, queue=settings.queue)
        self.pump.set_up = self.set_up

    def __repr__(self) -> str:
        return f"OpenVINOEngine({self._name!r})"

    @property
    def name(self) -> str:
        """What screens and parts call this engine."""
        return self._name

    @property
    def slots(self) -> int:
        """How many requests to keep in flight, so that the engine never waits for the next."""
        return _SLOTS * self._settings.side_by_side

    @property
    def deaths(self) -> Deaths:
        """How often its process died after it was loaded."""
        return Deaths(self.pump.restarts, self.pump.last_death)

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes the job's request bodies. Raises UsageError for what cannot be said."""
        return self._body_encoder(spec).encode

    def larger(self, spec: JobSpec) -> Encoder | None:
        """What makes bodies for a second try; None where no budget is larger than the first."""
        more = with_larger_budget(self._sampling(spec), self.context)
        return None if more is None else BodyEncoder(spec.prompt.system, more).encode

    def may_mend(self, reply: Reply) -> bool:
        """True when a larger budget would have let this reply go on.

        A reply that ended by itself would be the same, for the seed is.
        """
        used = reply.usage.input_tokens + reply.usage.output_tokens
        return reply.finish_reason == "length" and used < self.context

    def _body_encoder(self, spec: JobSpec) -> BodyEncoder:
        return BodyEncoder(spec.prompt.system, self._sampling(spec))

    def _sampling(self, spec: JobSpec) -> EngineSampling:
        said = engine_sampling(_with_schema(spec), keep_body=spec.keep_bodies)
        if said.max_tokens is not None and said.max_tokens >= self.context:
            raise _too_long(said.max_tokens, self.context)
        if said.schema is not None:
            _check_schema(said.schema)
        return said

    async def start(self, spec: JobSpec | None = None) -> None:
        """Load the model, and try the job's schema once.

        Raises UsageError when the model cannot be loaded or the schema not be
        used, MissingExtra, UnreachableError.
        """
        await self.pump.start()
        if spec is None:
            return
        kind = self._kind(self._body_encoder(spec).sampling)
        deadline = asyncio.get_running_loop().time() + TRIAL_S
        fault = await self._tried(kind, deadline) if kind.is_risky else None
        if fault is not None and fault.kind is FaultClass.PERMANENT:
            raise UsageError(fault.message, hint="simplify the schema, or ask an endpoint")

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The model's reply, or why there is none, by `deadline` (event loop time)."""
        if not self._is_open:
            return CLOSED
        if not self.pump.is_up and (fault := await self._started(deadline)) is not None:
            return fault
        ticket = self._ticket(request.body)
        if isinstance(ticket, Fault):
            return ticket
        kind = ticket.kind
        if kind.is_risky and (refusal := await self._tried(kind, deadline)) is not None:
            return refusal
        outcome = await self.pump.ask(ticket, deadline=deadline)
        if isinstance(outcome, Fault):
            return outcome
        return self._reply(outcome, kind.said)

    async def aclose(self) -> None:
        """End the engine's process, and with it its memory. Safe to call twice."""
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

    def load(self) -> Load:
        """What the engine's process is told to load."""
        settings, found = self._settings, self._metadata
        ends = {found.eos, found.end_of_turn} - {None} if found else set()
        return Load(
            machine=MACHINE,
            model=str(settings.model),
            context=self.context,
            own_tokens=self._tokens is not None,
            stops=tuple(ends),  # type: ignore[arg-type]  # None is taken out above
            kv_cache_gb=settings.kv_cache_gb,
            kv_blocks=kvcache.blocks(
                context=self.context,
                side_by_side=settings.side_by_side,
                token_numbers=None if found is None else found.token_numbers,
                gb=settings.kv_cache_gb,
            ),
            side_by_side=settings.side_by_side,
            ahead=settings.side_by_side,
            precision=settings.precision,
            template=(found.template or "") if found else "",
            samples=SAMPLES if self._tokens is not None else (),
        )

    async def _started(self, deadline: float) -> Fault | None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.pump.start()
        except TimeoutError:
            return TIMEOUT
        except NightkilnError:
            return self.pump.down()
        return None if self._is_open else CLOSED

    def set_up(self, loaded: Loaded) -> None:
        """Everything that has to be asked of the engine; the same after every load."""
        self._stops = frozenset(loaded.stops)
        notices = []
        if self._tokens is None:
            notices.append(f"{self._name}: text is cut into tokens by the engine's own tokenizer")
        else:
            ours = [tuple(self._tokens.encode(text)) for text in SAMPLES]
            differing = sum(map(tuple.__ne__, ours, loaded.samples))
            if differing:
                notices.append(
                    f"{self._name}: the engine would cut {differing} of {len(SAMPLES)} sample"
                    " texts into other tokens than the model's own tokenizer; ours is used"
                )
        template = self._metadata.template if self._metadata else loaded.template
        if template:
            self._template = ChatTemplate(template, bos=loaded.bos, eos=loaded.eos, now=self._now)
        else:
            notices.append(f"{self._name} has no chat template: it reads the text as it is")
        self.notices = tuple(notices)

    # -- one way of sampling

    def _kind(self, sampling: bytes) -> Kind:
        kind = self._kinds.get(sampling)
        if kind is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            self._kind_count += 1
            kind = self._kinds[sampling] = Kind(self._kind_count, parse_sampling(sampling))
        return kind

    async def _tried(self, kind: Kind, deadline: float) -> Fault | None:
        """Why no row may be asked for in this way, found out once with a row of our own."""
        if kind.refusal is not None or kind.is_proven:
            return kind.refusal
        if kind.trial is None:
            kind.trial = asyncio.create_task(self._try(kind), name="an engine's schema on trial")
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(kind.trial)
        except TimeoutError:
            return TIMEOUT

    async def _try(self, kind: Kind) -> Fault | None:
        ids = b"" if self._tokens is None else _packed(self._tokens.encode(_TRIAL_TEXT))
        short = msgspec.structs.replace(kind.said, max_tokens=1)
        self._kind_count += 1
        ticket = Ticket(Kind(self._kind_count, short), ids=ids, text=_TRIAL_TEXT, is_trial=True)
        deadline = asyncio.get_running_loop().time() + TRIAL_S
        outcome = await self.pump.ask(ticket, deadline=deadline)
        kind.trial = None
        if isinstance(outcome, Ended):
            kind.is_proven = True
            return None
        if outcome.kind not in (FaultClass.PERMANENT, FaultClass.POISON):
            return outcome  # it says nothing about the schema: the next row tries again
        why = f"{_UNABLE} {_shown(kind.said.schema or '')}: {outcome.message}"
        kind.refusal = _refused("schema_refused", why)
        return kind.refusal

    # -- one row

    def _ticket(self, body: bytes) -> Ticket | Fault:
        """What the engine is asked for a row, or why it will not be asked."""
        try:
            asked = parse_asked(body)
            hidden = self._control.hidden(asked.messages)
            text = self._template.render(hidden.messages)
        except (msgspec.MsgspecError, TemplateRefusal) as problem:
            return _refused("bad_messages", str(problem))
        kind, tokens = self._kind(bytes(asked.sampling)), self._tokens
        if tokens is None:
            text = broken(text, hidden.letters) if hidden.letters else text
            return Ticket(kind, text=text) if text else _refused("bad_messages", _EMPTY)
        if hidden.letters:
            ids = tokens.encode_hidden(text, hidden.letters)
        else:
            ids = tokens.encode(text, whole=True)
        return Ticket(kind, ids=_packed(ids)) if ids else _refused("bad_messages", _EMPTY)

    def _reply(self, ended: Ended, said: EngineSampling) -> Reply | Fault:
        if ended.reason == "exhausted":
            return _refused(
                "kv_cache_exhausted",
                f"{self._settings.kv_cache_gb} GB of --kv-cache-gb do not hold this row",
            )
        text, reason = ended.text, ended.reason
        if text is None:
            assert self._tokens is not None
            text = self._tokens.decode(self._said(ended))
        ends = [at for stop in said.stop if (at := text.find(stop)) >= 0]
        if ends:
            text, reason = text[: min(ends)], "stop"
        reply = Reply(
            text=text,
            finish_reason=reason,
            usage=Usage(input_tokens=ended.prompt, output_tokens=len(ended.ids)),
            model=self._name,
        )
        return self._with_body(reply, ended, said) if said.body else reply

    def _said(self, ended: Ended) -> list[int]:
        """The ids that make the text: all but the one that ended it."""
        ids = ended.ids
        return ids[:-1] if ids and ids[-1] in self._stops else ids

    def _with_body(self, reply: Reply, ended: Ended, said: EngineSampling) -> Reply:
        tokens = self._told_tokens(reply, ended, is_cut=bool(said.stop)) if said.logprobs else None
        body = chat_completion(reply, tokens, top=said.top_logprobs > 0)
        return msgspec.structs.replace(reply, body=body)

    def _told_tokens(self, reply: Reply, ended: Ended, *, is_cut: bool) -> list[Token]:
        """The tokens of the text with their log probabilities; a stop string's are cut off."""
        tokens: list[Token] = []
        size, whole = 0, len(reply.text.encode())
        for place, number in enumerate(self._said(ended)):
            if is_cut and size >= whole:
                break
            if self._tokens is not None:
                raw: bytes | None = self._tokens.piece(number)
                text = (raw or b"").decode(errors="replace")
            else:
                text = ended.pieces[place]
                raw = None if "\ufffd" in text else text.encode()
            size += len(raw or b"?")
            tokens.append(Token(text, ended.logprobs[place], raw))
        return tokens


_EMPTY: Final = "the prompt is empty"
_UNABLE: Final = "the engine cannot follow the schema"


def _packed(ids: list[int]) -> bytes:
    return array("q", ids).tobytes()


def _refused(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=message[:MESSAGE_LIMIT], sent=False)


def _too_long(max_tokens: int, context: int) -> NightkilnError:
    return UsageError(
        f"--max-tokens is {max_tokens}, but the model holds {context} tokens with the prompt"
    )


def _check_schema(schema: str) -> None:
    """Raises UsageError for a schema that no grammar follows."""
    try:
        grammar_of(schema)
    except UnknownSchema as problem:
        raise UsageError(
            f"{_UNABLE} {_shown(schema)}: {problem}", hint="simplify it, or ask an endpoint"
        ) from problem


def _shown(schema: str) -> str:
    return schema if len(schema) <= _SHOWN else f"{schema[: _SHOWN - 1]}…"


def _with_schema(spec: JobSpec) -> Sampling:
    """The sampling with the job's schema in it, the way the wire says it."""
    if spec.output_schema is None:
        return spec.sampling
    asked = msgspec.Raw(response_format(spec.output_schema.encode()))
    extra = {**spec.sampling.extra, "response_format": asked}
    return msgspec.structs.replace(spec.sampling, extra=extra)
