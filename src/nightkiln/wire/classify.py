"""The one judge of failed requests: from a reply, or the lack of one, to a typed fault.

A status alone decides badly: a 429 is at least four things (too fast, ramping
too fast, out of money, no quota at all), and a 400 may hide a spending limit.
Matching on message text decides badly too, because wording changes. So the
order is: the codes in the body, the type in the body, the few message texts
that a provider gives us nothing better for, then the status. Unknown 4xx are
permanent, unknown 5xx transient.

`x-should-retry` is the server's own word and overrides what the above calls
retryable or permanent, within what it can know: it never makes a row fail for
the state of an account (quota, credential, route) or of a crowd (overload).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.wire.errorbody import ErrorBody, read_error
from nightkiln.wire.headers import limit_reset_s, reset_s, retry_after_s, should_retry

_F = FaultClass

CODES: Final[dict[str, FaultClass]] = {
    # OpenAI
    "rate_limit_exceeded": _F.THROTTLE,
    "ramp_limit_exceeded": _F.THROTTLE,
    "slow_down": _F.OVERLOAD,
    "server_is_overloaded": _F.OVERLOAD,
    "insufficient_quota": _F.QUOTA,
    "credit_balance_exhausted": _F.QUOTA,
    "organization_usage_limit_exceeded": _F.QUOTA,
    "organization_spend_limit_exceeded": _F.QUOTA,
    "project_spend_limit_exceeded": _F.QUOTA,
    "billing_hard_limit_reached": _F.QUOTA,
    "billing_not_active": _F.QUOTA,
    "token_limit_exceeded": _F.QUOTA,
    "invalid_api_key": _F.AUTH,
    "account_deactivated": _F.AUTH,
    "ip_not_authorized": _F.AUTH,
    "unsupported_country_region_territory": _F.AUTH,
    "model_not_found": _F.ROUTE,
    "url_mismatch": _F.ROUTE,
    "model_mismatch": _F.ROUTE,
    "context_length_exceeded": _F.PERMANENT,
    "string_above_max_length": _F.PERMANENT,
    "content_policy_violation": _F.CONTENT,
    "invalid_prompt": _F.CONTENT,
    # Anthropic, `error.details.error_code`
    "enforced_spend_limit_reached": _F.QUOTA,
    "contract_spend_limit_reached": _F.QUOTA,
    "linked_organization_spend_limit_reached": _F.QUOTA,
    "organization_on_hold": _F.AUTH,
    "cmek_key_disabled": _F.AUTH,
    # Azure
    "content_filter": _F.CONTENT,
    "ResponsibleAIPolicyViolation": _F.CONTENT,
    "DeploymentNotFound": _F.ROUTE,
    # Gemini, `details[].reason`
    "API_KEY_INVALID": _F.AUTH,
    "API_KEY_SERVICE_BLOCKED": _F.AUTH,
    "SERVICE_DISABLED": _F.AUTH,
    "BILLING_DISABLED": _F.QUOTA,
    # Bedrock
    "ThrottlingException": _F.THROTTLE,
    "TooManyRequestsException": _F.THROTTLE,
    "ServiceQuotaExceededException": _F.QUOTA,
    "ModelNotReadyException": _F.OVERLOAD,
    "ServiceUnavailableException": _F.OVERLOAD,
    "AccessDeniedException": _F.AUTH,
    "UnrecognizedClientException": _F.AUTH,
    "ExpiredTokenException": _F.AUTH,
    "ResourceNotFoundException": _F.ROUTE,
    "ModelTimeoutException": _F.TRANSIENT,
    "ModelErrorException": _F.TRANSIENT,
    "InternalServerException": _F.TRANSIENT,
    "ValidationException": _F.PERMANENT,
}
"""Codes that decide alone, whatever status they come with."""

TYPES: Final[dict[str, FaultClass]] = {
    "insufficient_quota": _F.QUOTA,
    "overloaded_error": _F.OVERLOAD,
    "overloaded": _F.OVERLOAD,
    "rate_limit_error": _F.THROTTLE,
    "billing_error": _F.QUOTA,
    "authentication_error": _F.AUTH,
    "permission_error": _F.AUTH,
    "not_found_error": _F.ROUTE,
    "NotFoundError": _F.ROUTE,
    "api_error": _F.TRANSIENT,
    "timeout_error": _F.TRANSIENT,
    "conflict_error": _F.TRANSIENT,
    "request_too_large": _F.PERMANENT,
    "UNAVAILABLE": _F.OVERLOAD,
    "RESOURCE_EXHAUSTED": _F.THROTTLE,
    "UNAUTHENTICATED": _F.AUTH,
    "PERMISSION_DENIED": _F.AUTH,
    "FAILED_PRECONDITION": _F.AUTH,  # both documented causes are the account: country, billing
    "NOT_FOUND": _F.ROUTE,
    "DEADLINE_EXCEEDED": _F.TRANSIENT,
    "INTERNAL": _F.TRANSIENT,
}
"""Types that decide when no code does. `invalid_request_error` is not here: 401 and 404 use it."""


class Wording(NamedTuple):
    """A text that decides because its provider sends nothing better with it."""

    provider: str
    text: str  # in lower case
    kind: FaultClass
    code: str


WORDINGS: Final = (
    Wording("anthropic", "api usage limits", _F.QUOTA, "usage_limit_reached"),
    Wording("anthropic", "credit balance is too low", _F.QUOTA, "credit_balance_exhausted"),
    Wording("anthropic", "prompt is too long", _F.PERMANENT, "context_length_exceeded"),
    Wording("vllm", "maximum context length", _F.PERMANENT, "context_length_exceeded"),
    Wording("vllm", "maximum model length", _F.PERMANENT, "context_length_exceeded"),
    Wording("gemini", "limit: 0", _F.QUOTA, "no_quota_for_model"),
)
_WORDED_STATUSES: Final = frozenset({400, 413, 422, 429, 500})

STATUSES: Final[dict[int, FaultClass]] = {
    401: _F.AUTH,
    402: _F.QUOTA,
    403: _F.AUTH,
    404: _F.ROUTE,
    405: _F.ROUTE,
    407: _F.AUTH,
    408: _F.TRANSIENT,
    409: _F.TRANSIENT,
    425: _F.TRANSIENT,
    429: _F.THROTTLE,
    499: _F.TRANSIENT,
    503: _F.OVERLOAD,
    529: _F.OVERLOAD,
}


class _Verdict(NamedTuple):
    kind: FaultClass
    code: str


def classify(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Fault:
    """The fault a reply stands for. Header names are in lower case; `now` is epoch seconds."""
    error = read_error(headers, body)
    verdict = _verdict(status, error)
    kind = _overruled(verdict.kind, should_retry(headers))
    wait = retry_after_s(headers, now=now)
    if wait is None and kind is _F.THROTTLE:
        told = reset_s(error.retry_delay, now=now)
        wait = limit_reset_s(headers, now=now) if told is None else told
    return Fault(
        kind=kind,
        code=verdict.code,
        message=error.excerpt,
        status=status,
        retry_after_s=wait,
    )


def _verdict(status: int, error: ErrorBody) -> _Verdict:
    if 300 <= status < 400:
        return _Verdict(_F.ROUTE, "redirect")  # we never follow one: it could carry the key away
    told = _by_code(error) or _worded(status, error)
    if told is not None:
        return told
    if error.flagged:
        return _Verdict(_F.CONTENT, "flagged")
    if error.type in TYPES:
        return _Verdict(TYPES[error.type], _short(error.codes[0] if error.codes else error.type))
    return _Verdict(_by_status(status), _short(error.codes[0]) if error.codes else f"http_{status}")


def _by_code(error: ErrorBody) -> _Verdict | None:
    for code in error.codes:
        if code in CODES:
            return _Verdict(CODES[code], code)
    if any("PerDay" in name for name in error.quota_ids):  # Gemini: until midnight, Pacific
        return _Verdict(_F.QUOTA, "daily_quota_exhausted")
    return None


def _worded(status: int, error: ErrorBody) -> _Verdict | None:
    if status not in _WORDED_STATUSES or not error.message:
        return None
    message = error.message[:4000].lower()
    for wording in WORDINGS:
        if wording.text in message:
            return _Verdict(wording.kind, wording.code)
    return None


def _by_status(status: int) -> FaultClass:
    known = STATUSES.get(status)
    if known is not None:
        return known
    if 400 <= status < 500:
        return _F.PERMANENT
    return _F.TRANSIENT if status >= 500 else _F.PROTOCOL


def _overruled(kind: FaultClass, retry: bool | None) -> FaultClass:
    if retry is False and kind is _F.TRANSIENT:
        return _F.PERMANENT
    if retry is False and kind is _F.THROTTLE:
        return _F.QUOTA  # a limit that waiting does not lift; it is never the row's fault
    if retry is True and kind is _F.PERMANENT:
        return _F.TRANSIENT
    return kind


def _short(code: str) -> str:
    clean = "".join(
        mark if mark.isascii() and (mark.isalnum() or mark in "_.-") else "_" for mark in code
    )
    return clean[:64]
