"""What a job will take, from everything this process can know without asking any backend.

Gathers for `plan.estimate`: the model's own tokenizer where its file is here,
what earlier jobs saw, what a trial just saw, and prices.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from nightkiln.app.parts import Crew
from nightkiln.backends.engines.asking import DEFAULT_MAX_TOKENS
from nightkiln.backends.engines.counting import counter_of
from nightkiln.core.answer import Answer
from nightkiln.core.errors import MissingExtra
from nightkiln.core.forecast import Assumed, Estimate, Forecast, Interval, Rates, Trial, TriedRow
from nightkiln.core.job import Job, JobSpec, Task
from nightkiln.core.request import Prompt
from nightkiln.plan.estimate import Known, Seen, Table, forecast, tokens_per_byte
from nightkiln.service.calibration import calibrate, prompt_bytes, seconds_of
from nightkiln.service.context import Context
from nightkiln.service.measuring import Measured, measure
from nightkiln.worker.trial import Tried

USUAL_SLOTS = 64  # at once, where the limit of an endpoint has yet to be found
CLIPPED = 500  # characters of a tried answer that are shown
_BATCH_HALVES = {"api.openai.com": "OpenAI", "api.anthropic.com": "Anthropic"}


async def estimate(context: Context, spec: JobSpec, crew: Crew, assumed: Assumed) -> Estimate:
    """What a table will take. Asks nobody. Raises UsageError, InputError."""
    measured = await measure(spec)
    earlier = await calibrate(context, spec, backends=crew.names)
    counted = await asyncio.to_thread(_counted, spec, crew.model_file, measured)
    known = Known(
        counted=counted,
        counted_rows=0 if counted is None else len(measured.sample),
        seen=earlier.seen,
        seen_where=earlier.where,
        recorded=earlier.recorded if earlier.recorded_rows == measured.rows else None,
        rates=_rates(crew),
        is_own=crew.model_file is not None,
        gpu_hour_usd=assumed.gpu_hour_usd,
        tokens_per_s=assumed.tokens_per_s,
        slots=_slots(crew),
    )
    table = Table(
        rows=measured.rows - measured.bad,
        prompt_bytes=measured.prompt_bytes,
        max_tokens=_cap(spec, crew),
    )
    found = forecast(table, known)
    return Estimate(
        input_name=spec.source.name,
        model=crew.model,
        backend=crew.order.endpoint or "this machine",
        concurrency=_slots(crew),
        forecast=msgspec.structs.replace(
            found,
            rows=measured.rows,
            notes=(*_bad_note(measured), *found.notes, *_batch_note(crew)),
        ),
    )


def _bad_note(measured: Measured) -> tuple[str, ...]:
    if not measured.bad:
        return ()
    return (f"{measured.bad:,} of {measured.rows:,} rows are bad and will not be asked",)


def _slots(crew: Crew) -> int:
    """Requests at once that may be counted on: what was said, else a careful number."""
    return crew.order.concurrency or min(crew.slots, USUAL_SLOTS)


def _cap(spec: JobSpec, crew: Crew) -> int | None:
    """Most tokens of an answer; a vector has none."""
    if spec.task is Task.EMBEDDING:
        return 0
    own = DEFAULT_MAX_TOKENS if crew.model_file is not None else None
    return spec.sampling.max_tokens or own


def _counted(spec: JobSpec, model: Path | None, measured: Measured) -> Interval | None:
    """Tokens per byte by the model's own tokenizer; None where it cannot be had."""
    if model is None:
        return None
    try:
        count: Callable[[Prompt], int] | None = counter_of(model, system=spec.prompt.system)
    except MissingExtra:
        return None
    if count is None:
        return None
    pairs = [(prompt_bytes(one, spec.prompt), count(one)) for one in measured.sample]
    if not any(size for size, _ in pairs):
        return None
    found = tokens_per_byte(pairs)
    if len(measured.sample) == measured.rows - measured.bad:  # nothing is left to chance
        return Interval(found.likely, found.likely, found.likely)
    return found


def _rates(crew: Crew) -> Rates | None:
    price = crew.known_price
    if price is None:
        return None
    return Rates(
        input_usd=price.input_usd,
        output_usd=price.output_usd,
        source=price.source,
        date=price.date,
    )


def _batch_note(crew: Crew) -> tuple[str, ...]:
    host = (crew.order.endpoint or "").partition("://")[2].partition("/")[0]
    name = _BATCH_HALVES.get(host)
    if name is None:
        return ()
    return (f"{name} also has a batch API at half price; nightkiln does not use it yet",)


def trial_of(job: Job, crew: Crew, tried: Tried) -> Trial:
    """What a trial showed, and what it says about the whole job."""
    costs = [cost for one in tried.answers if (cost := _cost(one)) is not None]
    return Trial(
        job=job.id,
        rows=job.rows,
        tried=tuple(_row(one) for one in tried.answers),
        cost_usd=sum(costs) if costs else None,
        whole=_whole(job, crew, tried),
    )


def _whole(job: Job, crew: Crew, tried: Tried) -> Forecast:
    # A row that shared an answer says nothing of what the others will take.
    seen = [_seen(one) for one in tried.answers if one.fault is None and not one.reused]
    own = crew.model_file is not None
    table = Table(
        rows=job.rows,
        prompt_bytes=None if seen else 0,
        max_tokens=_cap(job.spec, crew),
    )
    known = Known(
        seen=seen,
        seen_where="this trial",
        rates=_rates(crew),
        is_own=own,
        # An engine of our own is as busy with five rows as it gets; an endpoint is not.
        tokens_per_s=tried.fresh_tokens / tried.elapsed_s if own and tried.fresh_tokens else None,
        slots=_slots(crew),
    )
    return forecast(table, known)


def _seen(answer: Answer) -> Seen:
    given, said = _tokens(answer)
    last = answer.last
    latency_s = 0.0 if last is None else seconds_of(last.latency_ms)
    return Seen(prompt_bytes=0, input_tokens=given, output_tokens=said, latency_s=latency_s)


def _tokens(answer: Answer) -> tuple[int, int]:
    given = sum(one.usage.input_tokens for one in answer.attempts)
    return given, sum(one.usage.output_tokens for one in answer.attempts)


def _cost(answer: Answer) -> float | None:
    costs = [one.cost_usd for one in answer.attempts if one.cost_usd is not None]
    return sum(costs) if costs else None


def _row(answer: Answer) -> TriedRow:
    given, said = _tokens(answer)
    text, fault = answer.text, answer.fault
    return TriedRow(
        row=answer.row,
        answer=None if text is None else text[:CLIPPED],
        fault=None if fault is None else str(fault.kind),
        fault_message=None if fault is None else fault.message or fault.code,
        input_tokens=given,
        output_tokens=said,
        cost_usd=_cost(answer),
        reused=answer.reused,
    )
