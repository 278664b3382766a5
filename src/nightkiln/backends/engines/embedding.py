"""Embeddings by an encoder on this machine's CPU, as a prompt backend.

A row's text goes to the engine's process as it is; there it is cut into tokens
and answered in batches, see `embedding_machine`. A text that is longer than the
model reads is refused: a vector of half a text looks like any other vector.
"""

import asyncio
from typing import Final

import msgspec

from nightkiln.backends.base import Encoder
from nightkiln.backends.engines.asking import EngineSampling
from nightkiln.backends.engines.base import Deaths, EngineSettings
from nightkiln.backends.engines.embedding_files import read_embedding
from nightkiln.backends.engines.messages import Ended, Load
from nightkiln.backends.engines.pump import CLOSED, TIMEOUT, Pump
from nightkiln.backends.engines.reply_body import embedding_list
from nightkiln.backends.engines.ticket import Kind, Ticket
from nightkiln.core.answer import Reply
from nightkiln.core.errors import NightkilnError, UsageError
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.core.job import JobSpec, Task
from nightkiln.core.request import Prompt, Request, WireBody
from nightkiln.core.usage import Usage

MACHINE: Final = "nightkiln.backends.engines.embedding_machine:EmbeddingMachine"
AT_HAND: Final = 512  # texts in the engine's process, from which it makes batches of like length
_SLOTS: Final = 2 * AT_HAND
_SPACE: Final = b" \t\r\n"
_encode: Final = msgspec.json.Encoder().encode


class _Asked(msgspec.Struct, frozen=True):
    """A request body. What else OpenAI's clients may send with it changes no vector of ours."""

    input: str | list[str]
    dimensions: int | None = None
    encoding_format: str = "float"  # of the vector in a whole body that is kept
    keep_body: bool = False  # our own word


_decode: Final = msgspec.json.Decoder(_Asked).decode


class EmbeddingEngine:
    """Answers with vectors. `start` loads the model; the first answer does so too."""

    is_local = True  # its answers cost nothing

    tasks = frozenset({Task.EMBEDDING})  # whose whole bodies it takes as they are

    def __init__(self, settings: EngineSettings) -> None:
        """Reads what the model's files say, not its weights. Raises UsageError."""
        files = read_embedding(settings.model)
        self._name = settings.name or settings.model.name
        self.context = files.context
        self.notices = files.notices
        self._is_open = True
        self._kind = Kind(0, EngineSampling())  # nothing is sampled, so there is but one
        self.pump = Pump(
            Load(
                machine=MACHINE,
                model=str(settings.model),
                context=files.context,
                own_tokens=False,
                side_by_side=AT_HAND,
                precision=settings.precision,
            ),
            side_by_side=AT_HAND,
            queue=settings.queue,
        )

    def __repr__(self) -> str:
        return f"EmbeddingEngine({self._name!r})"

    @property
    def name(self) -> str:
        """What screens and parts call this engine."""
        return self._name

    @property
    def slots(self) -> int:
        """How many requests to keep in flight, so that batches are full and of like length."""
        return _SLOTS

    @property
    def deaths(self) -> Deaths:
        """How often its process died after it was loaded."""
        return Deaths(self.pump.restarts, self.pump.last_death)

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes the job's request bodies. Raises UsageError for what cannot be said."""
        if spec.task is not Task.EMBEDDING:
            raise UsageError(
                f"{self._name} makes embeddings and answers nothing else", hint="add --task embed"
            )
        for option, is_given in _meaningless(spec).items():
            if is_given:
                raise UsageError(f"{option} means nothing to an embedding", hint="leave it out")
        return _keeping_body if spec.keep_bodies else _body

    async def start(self, spec: JobSpec | None = None) -> None:  # noqa: ARG002
        """Load the model. Raises UsageError when it cannot be loaded, MissingExtra.

        There is nothing to try: all jobs ask the same of it.
        """
        await self.pump.start()

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The text's vector, or why there is none, by `deadline` (event loop time)."""
        if not self._is_open:
            return CLOSED
        asked = _parsed(request.body)
        if isinstance(asked, Fault):
            return asked
        if not self.pump.is_up and (fault := await self._started(deadline)) is not None:
            return fault
        outcome = await self.pump.ask(Ticket(self._kind, text=_text(asked)), deadline=deadline)
        if isinstance(outcome, Fault):
            return outcome
        return self._reply(outcome, asked)

    async def aclose(self) -> None:
        """End the engine's process. Safe to call twice."""
        self._is_open = False
        await self.pump.aclose()

    async def _started(self, deadline: float) -> Fault | None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.pump.start()
        except TimeoutError:
            return TIMEOUT
        except NightkilnError:
            return self.pump.down()
        return None if self._is_open else CLOSED

    def _reply(self, ended: Ended, asked: _Asked) -> Reply | Fault:
        if ended.text is None:
            return _refused(ended.reason, "the vector has parts that are no numbers")
        reply = Reply(
            text=ended.text,
            finish_reason=ended.reason,
            usage=Usage(input_tokens=ended.prompt),
            model=self._name,
        )
        if not asked.keep_body:
            return reply
        body = embedding_list(reply, packed=asked.encoding_format == "base64")
        return msgspec.structs.replace(reply, body=body)


def _meaningless(spec: JobSpec) -> dict[str, bool]:
    """What a job can ask for and a vector cannot have."""
    sampling = spec.sampling
    return {
        "--system": spec.prompt.system is not None,
        "--messages": spec.prompt.messages_column is not None,
        "--max-tokens": sampling.max_tokens is not None,
        "--temperature": sampling.temperature is not None,
        "--seed": sampling.seed is not None,
        "--schema": spec.output_schema is not None,
        **{f"--param {name}": name != "encoding_format" for name in sampling.extra},
    }


def _body(prompt: Prompt) -> bytes:
    """The body for one row, in OpenAI's words."""
    if isinstance(prompt, WireBody):
        return prompt.json
    if not isinstance(prompt, str):
        raise UsageError("an embedding is made of a text, not of messages")
    return b'{"input":%b}' % _encode(prompt)


def _keeping_body(prompt: Prompt) -> bytes:
    """The same, saying that the whole reply is wanted."""
    members = _body(prompt).strip(_SPACE)[1:].lstrip(_SPACE)
    return b'{"keep_body":true%b%b' % (b"" if members[:1] == b"}" else b",", members)


def _parsed(body: bytes) -> _Asked | Fault:
    """A body that asks for one vector, or why there is none."""
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        return _refused("bad_input", str(problem))
    if not isinstance(asked.input, str) and len(asked.input) != 1:
        return _refused("bad_input", f"a row is one text, and its input has {len(asked.input)}")
    if asked.dimensions is not None:
        return _refused("unsupported_parameter", "this model's vectors have one length")
    return asked


def _text(asked: _Asked) -> str:
    return asked.input if isinstance(asked.input, str) else asked.input[0]


def _refused(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=message[:MESSAGE_LIMIT], sent=False)
