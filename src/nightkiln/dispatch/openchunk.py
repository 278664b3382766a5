"""One chunk in work: which rows still need an answer, and what each has been through.

Keeps the rows' prompts, journals every step before it counts, and knows
nothing of slots, backends or time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.answer import Answer, Attempt, Reply
from nightkiln.core.chunk import Lease
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import COUNTED, MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.core.job import Task
from nightkiln.core.request import Prompt, Request, WireBody
from nightkiln.core.reuse import Kept
from nightkiln.vault.frames import Answered, Faulted
from nightkiln.vault.journal import Journal
from nightkiln.vault.recovery import UNENDED, Recovered, whole
from nightkiln.wire.outputlimit import limit_of

Encoder: TypeAlias = Callable[[Prompt], bytes]
INTERRUPTED: Final = "interrupted"  # the code of an attempt that our own stop cut off
_OURS: Final = frozenset({UNENDED, INTERRUPTED})


class Try:
    """One row on its way to an answer; reused for every attempt of the row."""

    __slots__ = (
        "chunk",
        "counted",
        "failed_at",
        "failed_last",
        "here_at",
        "key",
        "larger",
        "leads",
        "number",
        "overloads",
        "retrying",
        "row",
        "stamp",
        "suspect",
        "throttles",
    )

    def __init__(self, chunk: "OpenChunk", row: int, *, number: int, counted: int) -> None:
        self.chunk = chunk
        self.row = row
        self.number = number  # of the attempts begun so far
        self.counted = counted  # of the attempts that use up the row's right to more
        self.stamp = 0  # of the gate, for the attempt in flight
        self.larger = False  # asked again at a larger budget, once
        self.key: bytes | None = None  # of its request, where an identical one may answer it
        self.leads = False  # identical requests wait for this one
        self.overloads = 0
        self.throttles = 0
        self.retrying: Fault | None = None  # the fault it is being retried for
        self.suspect = False  # of poison: every one of its attempts runs alone
        self.failed_at = 0  # a bit for every lane where it failed
        self.failed_last = -1  # the number of the last of them ...
        self.here_at = 0.0  # ... and when that one may ask it again (loop time)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's requests look like, and what its answers have to."""

    encode: Encoder
    larger: Encoder | None = None  # with a larger token budget, for an answer that did not fit
    may_mend: Callable[[Reply], bool] = lambda _: True  # for `larger`, once a reply did not fit
    misfit: Callable[[Reply], Fault | None] | None = None  # why a reply is not what was asked
    keep_bodies: bool = False
    task: Task = Task.CHAT


class OpenChunk:
    """A leased chunk with its journal."""

    def __init__(
        self,
        lease: Lease,
        journal: Journal,
        *,
        prompts: Mapping[int, Prompt],
        form: "Form",
        recovered: Recovered,
        bad: Mapping[int, Fault] | None = None,
    ) -> None:
        self.lease = lease
        self.journal = journal
        self._prompts = prompts  # of the rows this lease has to answer
        self._bad = bad or {}  # rows whose answer is known without asking; never journalled
        self._form = form
        self.keys: Mapping[int, bytes] = {}  # of the requests that identical ones may answer
        self._recovered = recovered
        self._tried_before = recovered.rows_tried()  # usually none
        self._answers: dict[int, Answered] = {}
        self._faulted: dict[int, list[Attempt]] = {}
        self.unanswered = sum(row not in recovered.answers for row in prompts)
        self.only: frozenset[int] | None = None  # the rows to ask; None: all of them
        self.on_answered: Callable[[OpenChunk], None] = lambda _: None

    def tries(self) -> Iterable[Try]:
        """The rows without an answer, in order, with what they have behind them."""
        for row in self._prompts:
            if self._wants(row) and (self.only is None or row in self.only):
                earlier = self._recovered.attempts(row) if row in self._tried_before else []
                try_ = Try(
                    self,
                    row,
                    number=max((attempt.number for attempt in earlier), default=0),
                    counted=sum(map(_counts, earlier)),
                )
                try_.overloads = sum(map(_overloaded, earlier))  # the grace goes on where it stood
                try_.larger = any(map(_misfitted, earlier))
                if not try_.larger:
                    try_.key = self.keys.get(row)
                yield try_

    def _wants(self, row: int) -> bool:
        """True for a row of this lease that has no answer yet."""
        return row not in self._recovered.answers and row not in self._answers

    def lacks(self, rows: Iterable[int]) -> bool:
        """True while one of these rows is to be answered here and has no answer yet."""
        return any(row in self._prompts and self._wants(row) for row in rows)

    def deaths(self, row: int) -> int:
        """How many workers died with this row in flight."""
        return self._recovered.deaths(row)

    def request(self, row: int, *, larger: bool = False, form: Form | None = None) -> Request:
        """The row's request, at the larger budget if `larger`. Raises what the encoder raises.

        `form` is that of the backend it goes to, where another one calls the model otherwise.
        """
        form = form or self._form
        encode = (form.larger if larger else None) or form.encode
        return Request(row, encode(self._prompts[row]), form.task)

    def cut(self, row: int, start: int, stop: int) -> str:
        """A piece of the row's prompt as it was rendered or written; to compare, not to read."""
        prompt = self._prompts[row]
        if isinstance(prompt, str):
            return prompt[start:stop]
        given = memoryview(prompt.json if isinstance(prompt, WireBody) else prompt)
        return str(given[start:stop], "latin-1")  # a character for each byte, whatever they mean

    def own_limit(self, row: int) -> int | None:
        """How many tokens the row's own body allows for its answer, if it has one and says so."""
        prompt = self._prompts[row]
        return limit_of(prompt.json) if isinstance(prompt, WireBody) else None

    def size(self, row: int) -> int:
        """The length of the row's prompt."""
        prompt = self._prompts[row]
        return len(prompt) if isinstance(prompt, str) else len(bytes(prompt))

    def lengths(self) -> Iterable[tuple[int, int]]:
        """Size of the prompt and tokens of the answer, of each row answered in this lease."""
        for row, answer in self._answers.items():
            if answer.attempt is not None and answer.fault is None:
                yield self.size(row), answer.attempt.usage.output_tokens

    @property
    def task(self) -> Task:
        """What is done with its rows."""
        return self._form.task

    def misfit(self, reply: Reply) -> Fault | None:
        """Why a reply is not what the job asks for, or None."""
        return None if self._form.misfit is None else self._form.misfit(reply)

    def may_mend(self, reply: Reply, form: Form | None) -> bool:
        """True when a second try may bring what this reply is not.

        `form` is that of the backend that gave it, where it is asked in another way.
        """
        form = form or self._form
        return form.larger is not None and form.may_mend(reply)

    def sent(self, row: int, number: int, backend: str) -> "asyncio.Future[None]":
        """Journal that a try is about to leave; it may when the future is done."""
        return self.journal.sent(row, number, backend)

    def answered(self, row: int, attempt: Attempt, reply: Reply) -> None:
        """Record a row's result."""
        self._record(
            Answered(
                row=row,
                attempt=attempt,
                text=reply.text,
                finish_reason=reply.finish_reason,
                model=reply.model,
                body=reply.body if self._form.keep_bodies else None,
            )
        )

    def kept(self, attempt: Attempt, reply: Reply) -> Kept:
        """A row's result, for the rows whose requests are identical."""
        return Kept(
            text=reply.text,
            finish_reason=reply.finish_reason,
            model=reply.model,
            usage=attempt.usage,
            cost_usd=attempt.cost_usd,
            body=reply.body if self._form.keep_bodies else None,
        )

    def reused(self, row: int, kept: Kept) -> None:
        """Record the result of an identical request as this row's; it costs nothing."""
        self._record(
            Answered(
                row=row,
                text=kept.text,
                finish_reason=kept.finish_reason,
                model=kept.model,
                reused=True,
                body=kept.body if self._form.keep_bodies else None,
                saved=kept.saved,
            )
        )

    def shared(self, answers: Iterable[Answered]) -> list[tuple[bytes, Kept]]:
        """Those of these answers that identical requests may have, each with its request's key."""
        if not self.keys:
            return []
        return [
            (key, _kept(answer, answer.attempt))
            for answer in answers
            if answer.attempt is not None and (key := self._key_of(answer)) is not None
        ]

    def known_shared(self) -> list[tuple[bytes, Kept]]:
        """The same of the answers before this lease."""
        return self.shared(self._recovered.answers.values())

    def _key_of(self, answer: Answered) -> bytes | None:
        """The request of a row's result; None for a fault, or what took a larger budget."""
        if answer.fault is not None:
            return None
        row = answer.row
        if (row in self._faulted or row in self._tried_before) and any(
            map(_misfitted, self.attempts(row))
        ):
            return None
        return self.keys.get(row)

    def failed(self, row: int, attempt: Attempt | None, fault: Fault) -> None:
        """Record a row's final fault."""
        body = fault.body if self._form.keep_bodies else None
        attempt = None if attempt is None else _without_body(attempt)
        self._record(Answered(row=row, attempt=attempt, fault=fault.without_body(), body=body))

    def faulted(self, row: int, attempt: Attempt) -> None:
        """Record an attempt that ended without an answer for its row."""
        attempt = _without_body(attempt)
        self._faulted.setdefault(row, []).append(attempt)
        self.journal.append(Faulted(row, attempt), attempt)

    def poison(self, row: int) -> None:
        """Give up a row that was in flight whenever a worker died."""
        deaths = self.deaths(row)
        fault = Fault(
            kind=FaultClass.POISON,
            code="worker_deaths",
            message=f"{deaths} workers died while this row was in flight",
        )
        self.failed(row, None, fault)

    def _record(self, answer: Answered) -> None:
        self._answers[answer.row] = answer
        self.journal.append(answer, answer)
        crashpoints.reach("journal.answered")
        self.unanswered -= 1
        if not self.unanswered:
            self.on_answered(self)

    def answers(self) -> list[Answer]:
        """Every answer this generation has for the chunk, in row order."""
        found = []
        for row in self._prompts:
            if row in self._recovered.answers:
                found.append(self._recovered.answer(row))
            elif row in self._answers:
                frame = self._answers[row]
                found.append(whole(frame, self.attempts(row)))
        found += [Answer(row=row, fault=fault) for row, fault in self._bad.items()]
        answers = [answer for answer in found if answer is not None]
        return sorted(answers, key=lambda answer: answer.row) if self._bad else answers

    def attempts(self, row: int) -> list[Attempt]:
        """Everything that was tried for a row in this generation, in order."""
        tried = self._recovered.attempts(row) if row in self._tried_before else []
        tried += self._faulted.get(row, ())
        frame = self._answers.get(row)
        if frame is not None and frame.attempt is not None:
            tried.append(frame.attempt)
        return tried

    def all_attempts(self) -> Iterable[Attempt]:
        """Everything that was tried in this generation for any row of the chunk."""
        for row in self._prompts:
            yield from self.attempts(row)

    def known_answers(self) -> Iterable[Answered]:
        """The answers before this lease: those in the journals, and those of bad rows."""
        yield from self._recovered.answers.values()
        for row, fault in self._bad.items():
            yield Answered(row=row, fault=fault)


def _kept(answer: Answered, attempt: Attempt) -> Kept:
    return Kept(
        text=answer.text or "",
        finish_reason=answer.finish_reason,
        model=answer.model,
        usage=attempt.usage,
        cost_usd=attempt.cost_usd,
        body=answer.body,
    )


def _overloaded(attempt: Attempt) -> bool:
    return attempt.fault is not None and attempt.fault.kind is FaultClass.OVERLOAD


def _counts(attempt: Attempt) -> bool:
    """True for an earlier attempt that used up part of the row's right to more.

    Those of a full backend are not among them: the first many cost nothing, and which
    of them came after those is not worth a row.
    """
    fault = attempt.fault
    return (
        fault is not None
        and fault.kind in COUNTED
        and fault.kind is not FaultClass.OVERLOAD
        and not fault.unreachable
        and fault.code not in _OURS
    )


def unsayable(error: UsageError) -> Fault:
    """The fault of a row whose request the backend has no words for; nothing was sent."""
    return Fault(
        kind=FaultClass.PERMANENT,
        code="invalid_request",
        message=error.message[:MESSAGE_LIMIT],
        sent=False,
    )


def cut_off(*, sent: bool) -> Fault:
    """The end of an attempt that our own stop cut off."""
    kind = FaultClass.AMBIGUOUS if sent else FaultClass.LOCAL
    return Fault(kind=kind, code=INTERRUPTED, message="stopped by the user", sent=sent)


def _without_body(attempt: Attempt) -> Attempt:
    """The attempt without its fault's reply: of those only a row's last is worth its room."""
    if attempt.fault is None or attempt.fault.body is None:
        return attempt
    return msgspec.structs.replace(attempt, fault=attempt.fault.without_body())


def _misfitted(attempt: Attempt) -> bool:
    return attempt.fault is not None and attempt.fault.kind is FaultClass.INCOMPLETE
