"""What the embedded engine promises, asked of a real model with random weights."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pytest

from nightkiln.backends.base import Encoder
from nightkiln.backends.engines.asking import (
    DEFAULT_MAX_TOKENS,
    BodyEncoder,
    EngineSampling,
)
from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request

F = FaultClass
Ask: TypeAlias = Callable[..., Awaitable[Reply | Fault]]
PLENTY = 60.0
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "number": {"type": "integer"},
        "word": {"type": "string", "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["mood", "number", "word"],
    "additionalProperties": False,
}


def good(outcome: Reply | Fault) -> Reply:
    assert isinstance(outcome, Reply), outcome
    return outcome


def bad(outcome: Reply | Fault) -> Fault:
    assert isinstance(outcome, Fault), outcome
    return outcome


async def test_a_row_is_answered_and_its_tokens_are_counted(ask: Ask) -> None:
    reply = good(await ask("def parse", max_tokens=8, ignore_eos=True))
    assert reply.text
    assert reply.finish_reason == "length"
    assert reply.model == "tiny"
    assert reply.usage.output_tokens == 8
    assert reply.usage.input_tokens > 8


@pytest.mark.parametrize("prompt", ["hello world", "order 12 of 345:", "import json\nclass A:"])
async def test_greedy_tokens_are_those_of_the_reference(
    ask: Ask, tiny: ModuleType, model: Path, prompt: str
) -> None:
    tokenizer = tiny.train_tokenizer()
    text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    expected = tiny.Reference(model).greedy(tokenizer.encode(text).ids, 32)
    reply = good(await ask(prompt, max_tokens=32, temperature=0.0, ignore_eos=True))
    assert reply.text == tokenizer.decode(expected)


async def test_many_rows_run_together_and_get_their_own_answers(ask: Ask) -> None:
    prompts = [f"row number {n}" for n in range(64)]
    together = await asyncio.gather(*(ask(p, max_tokens=12) for p in prompts))
    for n in (0, 17, 63):
        alone = good(await ask(prompts[n], max_tokens=12))
        assert alone.text == good(together[n]).text
    assert len({good(reply).text for reply in together}) > 1


async def test_a_seed_gives_the_same_answer_again_and_another_seed_another(ask: Ask) -> None:
    replies = await asyncio.gather(
        *(ask("x", max_tokens=16, temperature=1.0, seed=seed) for seed in (5, 5, 6))
    )
    texts = [good(reply).text for reply in replies]
    assert texts[0] == texts[1] != texts[2]


async def test_a_stop_string_ends_the_answer_just_before_it(ask: Ask) -> None:
    free = good(await ask("import os", max_tokens=24, ignore_eos=True)).text
    stop = free[len(free) // 2 : len(free) // 2 + 3]
    reply = good(await ask("import os", max_tokens=24, ignore_eos=True, stop=stop))
    assert reply.text == free[: free.index(stop)]
    assert reply.finish_reason == "stop"
    assert reply.usage.output_tokens < 24


async def test_log_probabilities_are_those_of_the_reference(
    ask: Ask, tiny: ModuleType, model: Path
) -> None:
    tokenizer = tiny.train_tokenizer()
    text = "<|im_start|>user\nimport json<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(text).ids
    reply = good(await ask("import json", max_tokens=6, ignore_eos=True, logprobs=True))
    body = json.loads(reply.body or b"{}")
    assert body["choices"][0]["message"]["content"] == reply.text
    assert body["usage"] == {"prompt_tokens": len(ids), "completion_tokens": 6} | {
        "total_tokens": len(ids) + 6
    }
    told = body["choices"][0]["logprobs"]["content"]
    whole = b"".join(bytes(one["bytes"]) for one in told)
    assert whole.decode(errors="replace") == reply.text
    reference = tiny.Reference(model)
    for one in told:
        logits = reference._logits(ids)
        taken = int(logits.argmax())
        expected = logits[taken] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        assert one["logprob"] == pytest.approx(expected, abs=0.02)
        assert one["top_logprobs"] == []
        ids = [*ids, taken]


async def test_a_job_that_keeps_bodies_gets_one_in_openais_form(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec]
) -> None:
    spec = msgspec.structs.replace(spec_of({"max_tokens": 4}), keep_bodies=True)
    deadline = asyncio.get_running_loop().time() + 60
    reply = good(await engine.answer(Request(0, engine.encoder(spec)("x")), deadline=deadline))
    body = json.loads(reply.body or b"{}")
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["logprobs"] is None
    assert body["choices"][0]["finish_reason"] == reply.finish_reason


async def test_a_schema_that_no_grammar_follows_is_refused_before_anything_is_loaded(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec], ask: Ask
) -> None:
    schema = '{"type":"object","properties":{"code":{"type":"string","pattern":"(?<=x)y"}}}'
    spec = msgspec.structs.replace(spec_of({"max_tokens": 4}), output_schema=schema)
    why = r"cannot follow the schema .*pattern.*[Ll]ookbehind"
    with pytest.raises(UsageError, match=why):
        engine.encoder(spec)
    with pytest.raises(UsageError, match=why):
        engine.larger(spec)
    with pytest.raises(UsageError, match=why):
        await engine.start(spec)
    body = BodyEncoder(None, EngineSampling(max_tokens=4, schema=schema)).encode("x")
    deadline = asyncio.get_running_loop().time() + 60
    faults = await asyncio.gather(
        *(engine.answer(Request(n, body), deadline=deadline) for n in range(8)),
    )
    for fault in map(bad, faults):
        assert (fault.kind, fault.code, fault.sent) == (F.PERMANENT, "schema_refused", False)
    good(await ask("x", max_tokens=2))
    assert engine.pump.restarts == 0


async def test_a_second_try_takes_twice_the_tokens_as_far_as_the_context_holds_them(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec]
) -> None:
    schema = '{"type":"string","minLength":4000}'
    deadline = asyncio.get_running_loop().time() + PLENTY

    async def asked(encode: Encoder | None, prompt: str) -> Reply:
        assert encode is not None
        return good(await engine.answer(Request(0, encode(prompt)), deadline=deadline))

    def job(budget: int | None) -> JobSpec:
        sampling = {} if budget is None else {"max_tokens": budget}
        return msgspec.structs.replace(spec_of(sampling), output_schema=schema)

    first = await asked(engine.encoder(job(6)), "x")
    second = await asked(engine.larger(job(6)), "x")
    assert (first.usage.output_tokens, second.usage.output_tokens) == (6, 12)
    assert engine.may_mend(first)
    room = engine.context - first.usage.input_tokens
    # A budget above half the context: the second try has what the prompt leaves.
    whole = await asked(engine.larger(job(room - 2)), "x")
    assert whole.usage.output_tokens == room
    assert not engine.may_mend(whole)  # the context is used up
    assert not engine.may_mend(msgspec.structs.replace(first, finish_reason="stop"))
    assert engine.larger(job(engine.context - 1)) is None
    told = json.loads(engine.larger(job(None))("x"))["sampling"]  # type: ignore[misc]
    assert told["max_tokens"] == min(2 * DEFAULT_MAX_TOKENS, engine.context - 1)


@pytest.mark.parametrize("seed", range(3))
async def test_a_schema_gives_valid_json_even_with_random_weights(ask: Ask, seed: int) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "row", "schema": SCHEMA}}
    reply = good(await ask("x", max_tokens=120, temperature=1.0, seed=seed, response_format=form))
    assert reply.finish_reason == "stop"
    answer = json.loads(reply.text)
    assert answer["mood"] in {"good", "bad"}
    assert isinstance(answer["number"], int)
    assert len(answer["word"]) <= 5
    assert set(answer) <= set(SCHEMA["properties"])
    assert "  " not in json.dumps(answer) or "  " in answer["word"]


async def test_an_overlong_prompt_is_refused_before_the_engine_sees_it(ask: Ask) -> None:
    fault = bad(await ask("word " * 2000, max_tokens=4))
    assert (fault.kind, fault.code) == (F.PERMANENT, "context_length_exceeded")
    fault = bad(await ask("word " * 100, max_tokens=500))
    assert fault.code == "context_length_exceeded"
    assert "500" in fault.message


async def test_an_unsaid_budget_shrinks_to_what_the_context_holds(ask: Ask) -> None:
    reply = good(await ask("word " * 200, ignore_eos=True))
    assert reply.usage.input_tokens + reply.usage.output_tokens == 512


async def test_a_deadline_is_kept_and_the_engine_goes_on(ask: Ask) -> None:
    good(await ask("warm", max_tokens=1))
    started = time.monotonic()
    faults = await asyncio.gather(
        *(ask("x", max_tokens=450, ignore_eos=True, within_s=0.05) for _ in range(64))
    )
    assert time.monotonic() - started < 10.0
    for fault in map(bad, faults):
        assert (fault.kind, fault.code, fault.sent) == (F.TRANSIENT, "timeout", False)
    good(await ask("x", max_tokens=4))


async def test_cancelling_frees_the_engine_for_others(ask: Ask, engine: OpenVINOEngine) -> None:
    good(await ask("warm", max_tokens=1))
    tasks = [asyncio.ensure_future(ask("x", max_tokens=450, ignore_eos=True)) for _ in range(64)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in ended)
    started = time.monotonic()
    good(await ask("x", max_tokens=4))
    assert time.monotonic() - started < 10.0
    assert engine.pump.restarts == 0


@pytest.mark.parametrize(
    "messages",
    [
        b'[{"role":"user"}]',
        b'[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]',
        b'["hello"]',
    ],
)
async def test_messages_no_model_can_read_are_the_rows_own_fault(ask: Ask, messages: bytes) -> None:
    fault = bad(await ask(msgspec.Raw(messages)))
    assert (fault.kind, fault.code, fault.sent) == (F.PERMANENT, "bad_messages", False)


async def test_messages_and_a_system_text_reach_the_model(
    engine: OpenVINOEngine, spec_of: Callable[..., JobSpec]
) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    plain = engine.encoder(spec_of({"max_tokens": 8}, system="be brief"))("hi")
    system = b'{"role":"system","content":"be brief"}'
    messages = b'[%b,{"role":"user","content":[{"type":"text","text":"hi"}]}]' % system
    given = engine.encoder(spec_of({"max_tokens": 8}))(msgspec.Raw(messages))
    one, other = [
        good(await engine.answer(Request(0, body), deadline=deadline)) for body in (plain, given)
    ]
    assert (one.text, one.usage) == (other.text, other.usage)


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        ({"frobnicate": 1}, "frobnicate"),
        ({"top_p": 2}, "top_p"),
        ({"stop": 5}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 512}, "max-tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 1, "temperature": 0.5}, "top_logprobs"),
        ({"top_logprobs": 1}, "logprobs=true"),
    ],
)
def test_settings_that_cannot_be_said_are_named_before_anything_runs(
    model: Path, spec_of: Callable[..., JobSpec], sampling: dict[str, Any], named: str
) -> None:
    engine = OpenVINOEngine(EngineSettings(model=model))
    with pytest.raises(UsageError, match=named):
        engine.encoder(spec_of(sampling))


async def test_closing_twice_is_safe_and_nothing_runs_afterwards(
    ask: Ask, engine: OpenVINOEngine
) -> None:
    good(await ask("x", max_tokens=1))
    waiting = asyncio.ensure_future(ask("x", max_tokens=450, ignore_eos=True))
    await asyncio.sleep(0)
    await engine.aclose()
    await engine.aclose()
    for fault in (bad(await waiting), bad(await ask("x"))):
        assert (fault.kind, fault.code, fault.sent) == (F.LOCAL, "closed", False)


async def test_a_model_that_cannot_be_loaded_is_said_at_the_start(
    tmp_path: Path, model: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model.read_bytes()[:-200_000])
    with pytest.raises(UsageError, match=r"broken\.gguf"):
        await started(broken)


async def started(model: Path) -> None:
    engine = OpenVINOEngine(EngineSettings(model=model))
    try:
        await engine.start()
    finally:
        await engine.aclose()


async def test_the_engine_says_where_its_tokenizer_would_differ(
    ask: Ask, engine: OpenVINOEngine
) -> None:
    good(await ask("x", max_tokens=1))
    assert all("tokens" in notice for notice in engine.notices)


async def test_a_model_of_an_unknown_kind_uses_the_engines_tokenizer(
    tiny: ModuleType, tmp_path: Path, spec_of: Callable[..., JobSpec]
) -> None:
    path = tiny.write_model(tmp_path / "odd.gguf", pre="something-new")
    engine = OpenVINOEngine(EngineSettings(model=path, precision="f32"))
    deadline = asyncio.get_running_loop().time() + 60
    body = engine.encoder(spec_of({"max_tokens": 8, "ignore_eos": True}))("hello world")
    try:
        reply = good(await engine.answer(Request(0, body), deadline=deadline))
    finally:
        await engine.aclose()
    assert reply.usage.output_tokens == 8
    assert "engine's own tokenizer" in engine.notices[0]
