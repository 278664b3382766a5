"""How long an answer a whole request body allows, whichever name it has for that.

Only a hint for those who plan: what a body really means is decided by who answers it.
"""

import msgspec


class _Limits(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


_DECODER = msgspec.json.Decoder(_Limits)


def limit_of(body: bytes) -> int | None:
    """The most tokens the answer may have; None where the body says nothing that is one."""
    try:
        said = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    named = (said.max_tokens, said.max_completion_tokens, said.max_output_tokens)
    return next((limit for limit in named if limit is not None and limit >= 0), None)
