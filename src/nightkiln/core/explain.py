"""What each class of fault means for a row, and what helps: the words of `explain` and summaries.

Errors explain themselves in the docstrings of their classes (`core.errors`);
faults are values, so their words are kept here.
"""

import inspect
from typing import Final

import msgspec

from nightkiln.core.errors import NightkilnError, catalogue
from nightkiln.core.fault import FaultClass


class FaultText(msgspec.Struct, frozen=True, kw_only=True):
    """A class of fault in words."""

    meaning: str  # what happened
    row: str  # what happens to the row
    fix: str  # what to do about it, one line


class ErrorText(msgspec.Struct, frozen=True, kw_only=True):
    """An error in words."""

    exit_code: int
    text: str


_UNEXPECTED: Final = """Something happened that nightkiln does not know: the fault is ours.

Answers already recorded are safe; run the same command again to go on. With
NIGHTKILN_DEBUG=1 in the environment the command prints a traceback: please
report it with the output of `nightkiln doctor`."""

_F = FaultClass
FAULTS: Final[dict[FaultClass, FaultText]] = {
    _F.TRANSIENT: FaultText(
        meaning="The backend stumbled: a 500, a refused connection, a reset before the request"
        " was sent.",
        row="It is asked again with growing pauses, at most five times, then it gets this fault.",
        fix="run the rows again when the backend is well; if it goes on, look at its logs",
    ),
    _F.OVERLOAD: FaultText(
        meaning="The backend is full (503, 529, or a model that is still loading).",
        row="It is asked again later; only after a while of patience does that count as a try.",
        fix="lower --concurrency, or wait until the backend has room",
    ),
    _F.THROTTLE: FaultText(
        meaning="We ask faster than the backend allows (429 with a rate limit).",
        row="It waits as long as the backend says and is asked again; this never uses up tries.",
        fix="nothing is needed; a lower --concurrency or a higher limit makes it quieter",
    ),
    _F.QUOTA: FaultText(
        meaning="The account behind the key has no money or quota left.",
        row="It is not failed: it waits until the backend takes requests again.",
        fix="add credit or raise the limit at the provider, then run the same command again",
    ),
    _F.AUTH: FaultText(
        meaning="The backend refuses our credential (401 or 403).",
        row="It is not failed: it waits until the credential is accepted.",
        fix="check --key (env:NAME, file:PATH or keyring:SERVICE/USER), then run the same"
        " command again",
    ),
    _F.ROUTE: FaultText(
        meaning="This backend does not serve the model that was asked for.",
        row="It is not failed: it waits for a backend that serves the model.",
        fix="check --model and --endpoint; GET <endpoint>/models lists what is served",
    ),
    _F.PERMANENT: FaultText(
        meaning="The backend refuses this request itself, for example because it is too long; or"
        " the row could not be read and was never asked (bad_row).",
        row="It is never asked again, because the same request would be refused again.",
        fix="read fault_message; shorten or mend the row, or lower --max-tokens",
    ),
    _F.CONTENT: FaultText(
        meaning="A content policy of the backend refused the prompt or withheld the answer.",
        row="It is never asked again blindly, because the policy would refuse it again.",
        fix="read the row; rephrase the prompt or ask a model with another policy",
    ),
    _F.INCOMPLETE: FaultText(
        meaning="The answer was cut short before the model was done.",
        row="What there is of the answer is kept and marked.",
        fix="raise --max-tokens, or ask for shorter answers in the prompt",
    ),
    _F.PROTOCOL: FaultText(
        meaning="What came back is not the answer the protocol promises: broken JSON, an HTML"
        " page, an empty body.",
        row="It is asked again up to four times, then it gets this fault with an excerpt.",
        fix="check that --endpoint names the API itself (it ends in /v1) and not a page or proxy",
    ),
    _F.AMBIGUOUS: FaultText(
        meaning="The request was sent and no answer was seen in time; it may have been billed.",
        row="It is asked again, and the lost tries are counted apart as maybe billed.",
        fix="raise --timeout if answers take long, or lower --concurrency",
    ),
    _F.POISON: FaultText(
        meaning="This row was in flight at two deaths of a worker; it is suspected of killing it.",
        row="It was tried alone, then set aside so that the other rows can go on.",
        fix="look at the row: extreme length or odd characters; mend it or leave it out",
    ),
    _F.LOCAL: FaultText(
        meaning="Our own machine failed: the disk is full or failing, or files ran out.",
        row="It is untouched and is asked when the machine is well.",
        fix="nightkiln doctor shows what is wrong; mend it and run the same command again",
    ),
    _F.EXPIRED: FaultText(
        meaning="The deadline of the job came before this row had an answer.",
        row="It has no answer; the rows that have one keep it.",
        fix="run the same command again: it goes on with the rows that have no answer",
    ),
    _F.CANCELLED: FaultText(
        meaning="The job was cancelled before this row had an answer.",
        row="It has no answer; the rows that have one keep it.",
        fix="run the same command again: it goes on with the rows that have no answer",
    ),
}


def fix_for(fault: str) -> str:
    """What to do about a class of fault, one line; empty for a class we do not know."""
    try:
        return FAULTS[FaultClass(fault)].fix
    except ValueError:
        return ""


def error_text(code: str) -> ErrorText | None:
    """The words of an error, or None where no error has this code."""
    kind = catalogue().get(code)
    if kind is None:
        return None
    text = _UNEXPECTED if kind is NightkilnError else inspect.cleandoc(kind.__doc__ or "")
    return ErrorText(exit_code=kind.exit_code, text=text)


def codes() -> tuple[str, ...]:
    """Everything that can be explained: error codes first, then classes of fault."""
    return (*sorted(catalogue()), *(str(kind) for kind in FaultClass))
