"""The real engine and ordinary schemas: every answer is JSON that fits, within its budget."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from nightkiln import pilot
from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.core.answer import Reply
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request
from nightkiln.worker.forms import form_of

ROWS = (
    "I was charged twice in March, please refund one of them.",
    "Where is my parcel?",
    "The kettle leaks, order 4471.",
)
WORD = {"type": "string", "maxLength": 8}


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


SCHEMAS: dict[str, dict[str, Any]] = {
    "bounds": thing(a={"type": "integer", "minimum": 3, "maximum": 9}),
    "an age and a score": thing(
        age={"type": "integer", "minimum": 0, "exclusiveMaximum": 121},
        score={"type": "number", "minimum": 0, "maximum": 1},
    ),
    "a date beside an enum": thing(
        when={"type": "string", "format": "date"}, topic={"enum": ["billing", "shipping"]}
    ),
    "a map of integers": thing(
        counts={"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3}
    ),
    "numbers": thing(x={"type": "number"}, n={"type": "integer"}),
    "left out": {**thing(a={"type": "integer", "maximum": 5}, b=WORD), "required": []},
    "a whole float": thing(a={"type": "string", "maxLength": 4.0}),
    "null or text": thing(a={"anyOf": [WORD, {"type": "null"}]}, b={"type": ["integer", "null"]}),
    "things in lists": thing(
        all={"type": "array", "minItems": 1, "maxItems": 3, "items": thing(x=WORD, y={"const": 1})}
    ),
    "values of all types": thing(a={"enum": [1, None, "z", [1, 2], {"k": 1}]}),
    "a pattern": thing(a={"type": "string", "pattern": r"^[A-Z]{2}-\d{3,5}$"}),
    "a reference": {
        **thing(a={"$ref": "#/$defs/w"}, b={"$ref": "#/$defs/w", "minLength": 2}),
        "$defs": {"w": WORD},
    },
    "itself": {**thing(v=WORD), "properties": {"v": WORD, "next": {"$ref": "#"}}},
    "allOf": {"allOf": [thing(a=WORD), thing(b={"type": "boolean"})]},
    "no members": {"type": "object", "properties": {}, "additionalProperties": False},
    "uniqueItems and multipleOf are for the check": thing(
        a={"type": "array", "items": {"type": "boolean"}, "maxItems": 1, "uniqueItems": True},
        n={"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 1},
    ),
}


@pytest.fixture
async def engine() -> AsyncIterator[OpenVINOEngine]:
    engine = OpenVINOEngine(EngineSettings(model=pilot.path(), precision="f32"))
    yield engine
    await engine.aclose()


async def test_any_ordinary_schema_gives_json_that_fits_within_the_budget(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec]
) -> None:
    deadline = asyncio.get_running_loop().time() + 120
    for sampling in ({"temperature": 0.0}, {"temperature": 1.5, "seed": 7}):
        for name, schema in SCHEMAS.items():
            spec = msgspec.structs.replace(
                spec_of({"max_tokens": 200, **sampling}), output_schema=json.dumps(schema)
            )
            encode = engine.encoder(spec)
            requests = [
                Request(number, encode(f"Classify this ticket as JSON. {row}"))
                for number, row in enumerate(ROWS)
            ]
            asked = (engine.answer(request, deadline=deadline) for request in requests)
            for reply in await asyncio.gather(*asked):
                assert isinstance(reply, Reply), (name, reply)
                assert reply.finish_reason == "stop", (name, reply.text)
                value = msgspec.json.decode(reply.text)
                assert jsonschema_rs.is_valid(schema, value), (name, value)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.99])
def test_a_budget_above_half_the_context_is_no_error(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec], share: float
) -> None:
    said = int(engine.context * share)
    spec = msgspec.structs.replace(spec_of({"max_tokens": said}), output_schema='{"type":"null"}')
    form = form_of(spec, engine)
    assert form.larger is not None
    budget = json.loads(form.larger("x"))["sampling"]["max_tokens"]
    assert budget == min(2 * said, engine.context - 1)
