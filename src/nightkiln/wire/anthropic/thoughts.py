"""Thinking before an answer: from Anthropic's words to what a backend can be told. Pure.

`adaptive` leaves it to the model, so a backend that cannot think obeys it by not
thinking; `enabled` insists, and is refused there. A backend that knows levels
only is told the level nearest to a budget of tokens.
"""

import enum
from typing import Final

import msgspec

from nightkiln.wire.anthropic.rules import Thinking
from nightkiln.wire.anthropic.wording import REQUIRED, Refused, unsupported

_LEAST_BUDGET: Final = 1_024
_LOW, _MEDIUM = 4_096, 16_384  # budgets below these are that level, all others are high
_NO_THINKING: Final = "this backend cannot be told to think; leave it out or ask another model"


class Effort(enum.StrEnum):
    """How much work an answer is worth."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class ThinkingParams(msgspec.Struct, forbid_unknown_fields=True):
    """The `thinking` of a message's params."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


def is_shown(params: ThinkingParams | None) -> bool:
    """Whether the caller wants to see what was thought."""
    return params is not None and params.type != "disabled" and params.display != "omitted"


def thinking_fields(
    params: ThinkingParams | None, effort: Effort | None, max_tokens: int | None, how: Thinking
) -> dict[str, object]:
    """The fields of a chat that say how to think. Raises Refused."""
    fields: dict[str, object] = {}
    if effort is not None:
        if how is Thinking.NONE:
            raise unsupported("output_config.effort", _NO_THINKING)
        fields["reasoning_effort"] = str(effort)
    if params is None:
        return fields
    if params.display not in (None, "summarized", "omitted"):
        raise Refused("thinking.display", "Input should be 'summarized' or 'omitted'")
    match params.type:
        case "disabled":
            return fields | _disabled(how)
        case "adaptive":
            return fields | _switched(how, on=True)
        case "enabled":
            return _enabled(_budget(params, max_tokens), how) | fields
        case "between_tools":
            raise unsupported("thinking.type", "say 'enabled', 'adaptive' or 'disabled' here")
        case _:
            raise Refused(
                "thinking.type", "Input should be one of 'enabled', 'disabled', 'adaptive'"
            )


def _budget(params: ThinkingParams, max_tokens: int | None) -> int:
    at, budget = "thinking.enabled.budget_tokens", params.budget_tokens
    if budget is None:
        raise Refused(at, REQUIRED)
    if budget < _LEAST_BUDGET:
        raise Refused(at, f"Input should be greater than or equal to {_LEAST_BUDGET}")
    if max_tokens is not None and budget >= max_tokens:
        raise Refused(at, "Input should be less than max_tokens")
    return budget


def _disabled(how: Thinking) -> dict[str, object]:
    return {"reasoning_effort": "none"} if how is Thinking.EFFORT else _switched(how, on=False)


def _switched(how: Thinking, *, on: bool) -> dict[str, object]:
    return {"chat_template_kwargs": {"enable_thinking": on}} if how is Thinking.TEMPLATE else {}


def _enabled(budget: int, how: Thinking) -> dict[str, object]:
    if how is Thinking.NONE:
        raise unsupported("thinking", _NO_THINKING)
    if how is Thinking.TEMPLATE:
        return {**_switched(how, on=True), "thinking_token_budget": budget}
    level = Effort.LOW if budget < _LOW else Effort.MEDIUM if budget < _MEDIUM else Effort.HIGH
    return {"reasoning_effort": str(level)}
