"""What a job's requests look like and what its answers have to: from its spec to a form.

An answer that does not fit its schema is asked for once more, and always for
something else than the first time. A model on this machine answers the same
request alike, so only one that was cut off is asked again, with twice its
tokens, as far as its context holds them; what it was first given without
anybody's saying so counts as well. An endpoint is asked with twice the tokens
that were said. Where none were said, only it knows what it gave, and a number of
ours may be less: then the same request is sent again, for another draw, unless
temperature 0 or a seed makes that the same draw too.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from nightkiln.backends.base import LARGER, Encoder, KnowsItsBudget, PromptBackend
from nightkiln.backends.spoken import encoder_of
from nightkiln.core.answer import Reply
from nightkiln.core.job import JobSpec, Sampling
from nightkiln.core.request import Prompt
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.openchunk import Form
from nightkiln.tables.schema import AnswerSchema

_BUDGETS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")  # as --param


def form_of(spec: JobSpec, backend: PromptBackend) -> Form:
    """The form of a job's requests at a backend. Raises UsageError for what it cannot say."""
    encode = encoder_of(backend, spec)
    if spec.output_schema is None:
        return Form(encode=encode, keep_bodies=spec.keep_bodies, task=spec.task)
    larger, may_mend = _second_try(spec, backend)
    return Form(
        encode=encode,
        larger=larger,
        may_mend=may_mend,
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


def _second_try(
    spec: JobSpec, backend: PromptBackend
) -> tuple[Encoder | None, Callable[[Reply], bool]]:
    """What is asked where an answer did not fit, if anything, and when that may mend it."""
    if isinstance(backend, KnowsItsBudget):
        return backend.larger(spec), backend.may_mend
    sampling = spec.sampling
    more = _with_more_tokens(sampling)
    if more == sampling and not _is_drawn(sampling):
        return None, _never
    return encoder_of(backend, msgspec.structs.replace(spec, sampling=more)), _always


def _with_more_tokens(sampling: Sampling) -> Sampling:
    """The sampling with every budget that is said in it enlarged."""
    extra = dict(sampling.extra)
    for name in _BUDGETS:
        said = msgspec.json.decode(bytes(extra[name])) if name in extra else None
        if isinstance(said, int) and not isinstance(said, bool):
            extra[name] = msgspec.Raw(msgspec.json.encode(LARGER * said))
    most = sampling.max_tokens
    return msgspec.structs.replace(
        sampling, max_tokens=None if most is None else LARGER * most, extra=extra
    )


def _is_drawn(sampling: Sampling) -> bool:
    """True when the same request may bring another answer."""
    return sampling.temperature != 0 and sampling.seed is None


def _always(_: Reply) -> bool:
    return True


def _never(_: Reply) -> bool:
    return False


def _never_asked(_: Prompt) -> bytes:
    raise AssertionError("answers are being kept, nothing is asked")


NEVER_ASKED: Final = Form(encode=_never_asked)
