"""What a job's requests look like and what its answers have to: from its spec to a form."""

from typing import Final

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.backends.spoken import encoder_of
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Prompt
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.openchunk import Form
from nightkiln.tables.schema import AnswerSchema

LARGER: Final = 2  # times the token budget, for an answer that did not fit its schema


def form_of(spec: JobSpec, backend: PromptBackend) -> Form:
    """The form of a job's requests at a backend. Raises UsageError for what it cannot say."""
    encode = encoder_of(backend, spec)
    if spec.output_schema is None:
        return Form(encode=encode, keep_bodies=spec.keep_bodies, task=spec.task)
    return Form(
        encode=encode,
        larger=encoder_of(backend, _with_more_tokens(spec)),
        misfit=AnswerSchema(spec.output_schema.encode()).fault_of,
        keep_bodies=spec.keep_bodies,
        task=spec.task,
    )


def give_forms(spec: JobSpec, fleet: Fleet) -> Form:
    """Tell every lane how its backend is asked; the form of the first. Raises UsageError.

    They differ in what the backend calls the model, and in its dialect.
    """
    for lane in fleet.lanes:
        there = lane.settings.model
        named = spec if there is None else msgspec.structs.replace(spec, model=there)
        lane.form = form_of(named, lane.backend)
    form = fleet.lanes[0].form
    assert form is not None
    return form


def _with_more_tokens(spec: JobSpec) -> JobSpec:
    budget = spec.sampling.max_tokens
    if budget is None:
        return spec
    sampling = msgspec.structs.replace(spec.sampling, max_tokens=LARGER * budget)
    return msgspec.structs.replace(spec, sampling=sampling)


def _never_asked(_: Prompt) -> bytes:
    raise AssertionError("answers are being kept, nothing is asked")


NEVER_ASKED: Final = Form(encode=_never_asked)
