"""What `POST /v1/batches` asks for, checked. Pure: whether the file exists is asked elsewhere.

OpenAI answers at once only what the request itself gets wrong; what is wrong with
the file shows later, in a batch that is `failed`. So an input file that nobody
knows is no matter of this module.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.wire.batchlines import URLS
from nightkiln.wire.openai import fields
from nightkiln.wire.openai.fields import Fields
from nightkiln.wire.openai.refusals import Refusal, Refused, refused, shown
from nightkiln.wire.openai.settings import BODY_FIELD, Settings, settings_of
from nightkiln.wire.openai.spans import span_seconds

ENDPOINTS: Final = tuple(URLS)
WINDOWS: Final = ("24h",)  # what OpenAI takes; more are a setting of the server
KEY_FIELD: Final = "idempotency_key"
MOST_PAIRS: Final = 16
LONGEST_KEY: Final = 64  # characters
LONGEST_VALUE: Final = 512
_KNOWN: Final = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
    BODY_FIELD,
    KEY_FIELD,
)


class CreateBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A good request for a batch."""

    input_file_id: str
    endpoint: str
    completion_window: str
    window_s: int
    metadata: dict[str, str] | None = None  # as it came, our own settings among it
    output_expires_after_s: int | None = None  # from when an output file is made
    settings: Settings = Settings()
    idempotency_key: str | None = None  # of the body; a header may say it too
    digest: str  # of what was asked, for `repeats.py`; the key is no part of it

    def expires_at(self, created_at: float) -> float:
        """When what has no answer expires: the end of the window, or an earlier deadline."""
        end = created_at + self.window_s
        deadline = self.settings.deadline_at
        return end if deadline is None else min(end, deadline)


def read_creation(
    body: bytes, *, now: float, windows: Sequence[str] = WINDOWS
) -> CreateBatch | Refusal:
    """The batch that a body asks for, or why there can be none.

    `windows` are the completion windows this server takes, each a span like `24h`.
    """
    try:
        return _creation(fields.object_of(body), now, windows)
    except Refused as problem:
        return problem.refusal


def _creation(found: Fields, now: float, windows: Sequence[str]) -> CreateBatch:
    fields.only(found, _KNOWN)
    input_file_id = fields.text(found, "input_file_id")
    endpoint = fields.one_of(found, "endpoint", ENDPOINTS)
    window = fields.one_of(found, "completion_window", windows)
    window_s = span_seconds(window)
    if window_s is None:
        raise ValueError(f"{window!r} is no span, and so no completion window")
    metadata = _metadata(found)
    said = fields.inner(found, BODY_FIELD)
    return CreateBatch(
        input_file_id=input_file_id,
        endpoint=endpoint,
        completion_window=window,
        window_s=window_s,
        metadata=metadata,
        output_expires_after_s=fields.expiry(found, "output_expires_after"),
        settings=settings_of(said, metadata, now=now, latest=now + window_s),
        idempotency_key=fields.optional_text(found, KEY_FIELD),
        digest=_digest(found),
    )


def _metadata(found: Fields) -> dict[str, str] | None:
    pairs = fields.inner(found, "metadata")
    if pairs is None:
        return None
    if len(pairs) > MOST_PAIRS:
        raise refused(
            f"metadata has {len(pairs)} pairs; at most {MOST_PAIRS} are taken.",
            param="metadata",
            code="object_above_max_properties",
        )
    checked: dict[str, str] = {}
    for key, value in pairs.items():
        if len(key) > LONGEST_KEY:
            raise refused(
                f"The metadata key {shown(key)} has {len(key)} characters;"
                f" at most {LONGEST_KEY} are taken.",
                param="metadata",
                code="property_name_above_max_length",
            )
        param = f"metadata.{key}"
        if not isinstance(value, str):
            raise fields.mistyped(param, "a string", value)
        if len(value) > LONGEST_VALUE:
            raise refused(
                f"{param} has {len(value)} characters; at most {LONGEST_VALUE} are taken.",
                param=param,
                code="string_above_max_length",
            )
        checked[key] = value
    return checked


def _digest(found: Fields) -> str:
    """The same for two bodies that ask the same, however they are written."""
    asked = {name: value for name, value in found.items() if value is not None}
    asked.pop(KEY_FIELD, None)
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()
