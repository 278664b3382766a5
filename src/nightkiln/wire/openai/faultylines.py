"""Why a batch failed its validation: OpenAI's code, message, param and line. Pure.

Reading a file names a flaw in our words and codes (`wire/batchlines.py`); a batch
shows it in those that OpenAI's service was seen to give. They differ in three
places: a line for another route than the batch's is `invalid_url`, one for
another model than the others is `mismatched_model`, and a body without a model
is `invalid_request`.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from nightkiln.wire.openai.objects import BatchError, BatchErrors
from nightkiln.wire.openai.refusals import shown

NAMED: Final = 10  # models that are supported, in a message
_OTHER: Final = "invalid_request"
_CODES: Final = {
    "url_mismatch": "invalid_url",
    "model_mismatch": "mismatched_model",
    "bad_row": _OTHER,
    "": _OTHER,
}
_PARAMS: Final = {
    "url_mismatch": "url",
    "model_mismatch": "body.model",
    "model_not_found": "body.model",
    "duplicate_custom_id": "custom_id",
    "streaming_unsupported": "body.stream",
}
_MESSAGES: Final = {
    "invalid_json_line": "This line cannot be parsed as a valid JSON object.",
    "streaming_unsupported": "Streaming is not supported in a batch.",
}


def line_error(
    *, line: int, code: str, reason: str, param: str | None = None, endpoint: str = ""
) -> BatchError:
    """The error of one bad line, from what reading it found.

    `code`, `reason` and `param` are those of the bad row; `endpoint` is the batch's.
    """
    asked = param or _PARAMS.get(code)
    if code == "missing_required_parameter" and asked is not None:
        message = f"Missing required parameter: '{asked}'."
    elif code == "url_mismatch" and endpoint:
        message = f"The url of this line does not match the endpoint of the batch, '{endpoint}'."
    else:
        message = _MESSAGES.get(code) or _sentence(reason)
    if code == "missing_required_parameter" and asked is not None and asked.startswith("body."):
        code = _OTHER
    return BatchError(code=_CODES.get(code, code), message=message, param=asked, line=line)


def unknown_model(model: str, *, line: int, supported: Iterable[str] = ()) -> BatchError:
    """A line that names a model which nobody here serves, or this caller may not use."""
    names = [shown(name) for name in islice(supported, NAMED + 1)]
    more = ", …" if len(names) > NAMED else ""
    known = f" Supported are {', '.join(names[:NAMED])}{more}." if names else ""
    return BatchError(
        code="model_not_found",
        message=f"The model {shown(model)} is not supported here.{known}",
        param="body.model",
        line=line,
    )


def empty_file() -> BatchError:
    """The input file has no request."""
    return BatchError(code="empty_file", message="The input file has no requests.")


def unknown_file(file_id: str) -> BatchError:
    """There is no such input file, or it is somebody else's."""
    return BatchError(
        code=_OTHER,
        message=f"Cannot find file {shown(file_id)}, or this key has no access to it.",
        param="file_id",
    )


def unreadable_file(reason: str) -> BatchError:
    """The input file cannot be read as a whole."""
    return BatchError(code=_OTHER, message=_sentence(reason), param="file_id")


def unpriced(model: str) -> BatchError:
    """A batch with a budget asks a model whose price nobody knows."""
    return BatchError(
        code="unknown_price",
        message=f"A budget needs a price, and none is known for the model {shown(model)} here."
        " Leave out the budget, or have the price set in the settings of the server,"
        ' under [prices."MODEL"].',
        param="budget",
    )


def batch_errors(found: Iterable[BatchError], *, most: int) -> BatchErrors | None:
    """The errors of a batch, in order; None without any. Beyond `most` they are only counted."""
    errors = iter(found)
    data = list(islice(errors, most))
    more = sum(1 for _ in errors)
    if more:
        data.append(
            BatchError(code="too_many_errors", message=f"{more:,} more errors are not listed.")
        )
    return BatchErrors(data=tuple(data)) if data else None


def _sentence(reason: str) -> str:
    """A reason as a sentence of its own."""
    said = reason.strip() or "This line is not a valid request"
    return said[:1].upper() + said[1:] + ("" if said.endswith(".") else ".")
