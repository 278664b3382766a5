"""A JSON schema for answers: checked on every reply, and turned into columns on the way out.

Whoever enforces a schema (an engine's grammar, a provider's strict mode), we
check again: servers ignore it silently. Top-level properties of an object
schema become columns of their own, in the order of the schema.
"""

from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec

MAX_SCHEMA_BYTES: Final = 256 * 1024
_PATTERN_STEPS: Final = 100_000  # of backtracking in a schema's own patterns


class AnswerSchema:
    """One job's schema. Raises UsageError for a schema that is none."""

    def __init__(self, schema: bytes) -> None:
        import jsonschema_rs

        if len(schema) > MAX_SCHEMA_BYTES:
            raise UsageError(f"the schema is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
        try:
            parsed = msgspec.json.decode(schema)
        except msgspec.DecodeError as error:
            raise UsageError(f"the schema is no JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise UsageError("the schema is no JSON object", hint='begin with {"type": "object"}')
        try:
            self._validator = jsonschema_rs.validator_for(
                parsed,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_PATTERN_STEPS),
                offline=True,
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise UsageError(f"the schema cannot be used: {_short(error)}") from error

    def fault_of(self, reply: Reply) -> Fault | None:
        """Why a reply is not what the schema asks for, or None."""
        try:
            value = msgspec.json.decode(reply.text)
        except msgspec.DecodeError:
            if reply.finish_reason == "length":
                return _fault("json_cut", "the answer was cut off at the token limit")
            return _fault("json_invalid", "the answer is no JSON")
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return None
        where = "/".join(map(str, error.instance_path)) or "the answer"
        return _fault("schema_mismatch", f"{where}: does not fit the schema ({_kind(error)})")


def _kind(error: object) -> str:
    """The keyword that was not met; never the value, which is data."""
    kind = getattr(error, "kind", None)
    return type(kind).__name__.removeprefix("ValidationErrorKind_").lower() or "invalid"


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _fault(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.INCOMPLETE, code=code, message=message)


def fields_of(spec: JobSpec) -> tuple[str, ...]:
    """The properties of a job's answers that get columns of their own; none without a schema."""
    return () if spec.output_schema is None else properties_of(spec.output_schema)


def properties_of(schema: str | bytes) -> tuple[str, ...]:
    """The top-level properties of a schema, in its order."""
    properties = msgspec.json.decode(schema).get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()
