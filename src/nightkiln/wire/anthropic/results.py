"""The lines of a batch's results, from what became of its rows. Pure.

Anthropic counts a refusal of the model, and an answer that found no room, among
the requests that succeeded: there is a Message that says so. So a row that has a
fault with us may have `succeeded` there.
"""

from typing import Final

import msgspec

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.wire.anthropic.errors import error_object, fault_type
from nightkiln.wire.anthropic.message import FULL, REFUSAL, bare_message, message_of
from nightkiln.wire.batchlines import Outcome

_OK: Final = 200
_ENDED: Final = {FaultClass.CONTENT: REFUSAL, FaultClass.INCOMPLETE: FULL}
_WITHOUT: Final = {FaultClass.CANCELLED: b"canceled", FaultClass.EXPIRED: b"expired"}
_encode: Final = msgspec.json.Encoder().encode

SUCCEEDED: Final = frozenset(_ENDED)
"""The faults of ours that are Messages in Anthropic's words."""


def result_line(outcome: Outcome, *, model: str = "", thinking: bool = False) -> bytes:
    """The line of a row, with its line end. The outcome's `id` is the message's: `msg_…`.

    `model` is what the caller asked for; `thinking` whether it asked to see any.
    """
    name = _encode(outcome.custom_id or "")
    return b'{"custom_id":%b,"result":%b}\n' % (name, _result(outcome, model, thinking=thinking))


def _result(outcome: Outcome, model: str, *, thinking: bool) -> bytes:
    if outcome.fault in _WITHOUT:
        return b'{"type":"%b"}' % _WITHOUT[outcome.fault]
    message = _message(outcome, model, thinking=thinking)
    if isinstance(message, bytes):
        return b'{"type":"succeeded","message":%b}' % message
    words = message.message or message.code or "the request failed without a reason"
    error = error_object(fault_type(message.kind), words, outcome.request_id)
    return _encode({"type": "errored", "error": error})


def _message(outcome: Outcome, model: str, *, thinking: bool) -> bytes | Fault:
    """The Message of a row, or the fault that it has instead."""
    kind = outcome.fault
    if outcome.status == _OK and outcome.body is not None and (kind is None or kind in _ENDED):
        found = message_of(outcome.body, message_id=outcome.id, model=model, thinking=thinking)
        if kind is None or isinstance(found, bytes):
            return found
    if kind in _ENDED:
        words = outcome.message or None if kind is FaultClass.CONTENT else None
        return bare_message(_ENDED[kind], message_id=outcome.id, model=model, explanation=words)
    return Fault(
        kind=kind or FaultClass.PROTOCOL,
        code=outcome.code or "no_reply_kept",
        message=outcome.message,
    )
