"""What the embedding engine promises, asked of a real encoder with random weights."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pytest

from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.embedding import EmbeddingEngine
from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec, Sampling, Task
from nightkiln.core.request import Request, WireBody

F = FaultClass
PLENTY = 60.0
CLOSE = 1e-4
TEXTS = [
    "the parcel arrived late",
    "",
    "東京は晴れです 🙂 und die Straße",
    "a\u0000b\u2028c",
    "naïve — cafe\u0301",
    "the box " * 12,
    "refund",
    *(f"order {n} of {n * n}" for n in range(60)),
]
Embed: TypeAlias = Callable[[EmbeddingEngine, str], Awaitable[Reply | Fault]]


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    path = Path(__file__).with_name("tiny_encoder.py")
    spec = spec_from_file_location("nightkiln_tests_tiny_encoder", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def encoder(maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = maker.write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")
    return path


@asynccontextmanager
async def running(model: Path, **more: Any) -> AsyncIterator[EmbeddingEngine]:
    engine = EmbeddingEngine(EngineSettings(model=model, precision="f32", **more))
    try:
        yield engine
    finally:
        await engine.aclose()


async def embed(engine: EmbeddingEngine, text: str, *, within_s: float = PLENTY) -> Reply | Fault:
    body = json.dumps({"model": "tiny", "input": text}).encode()
    return await asked(engine, body, within_s=within_s)


async def asked(engine: EmbeddingEngine, body: bytes, *, within_s: float = PLENTY) -> Reply | Fault:
    deadline = asyncio.get_running_loop().time() + within_s
    return await engine.answer(Request(0, body, Task.EMBEDDING), deadline=deadline)


def good(outcome: Reply | Fault) -> Reply:
    assert isinstance(outcome, Reply), outcome
    return outcome


def bad(outcome: Reply | Fault) -> Fault:
    assert isinstance(outcome, Fault), outcome
    return outcome


def vector(outcome: Reply | Fault) -> Any:
    return np.array(json.loads(good(outcome).text), dtype=np.float32)


def spec_of(**more: Any) -> JobSpec:
    from nightkiln.core.job import PromptSpec, SourceSpec

    values = {
        "source": SourceSpec(kind="csv", path="/i.csv", name="i.csv", size_bytes=9, sha256="00"),
        "prompt": PromptSpec(columns=("text",)),
        "model": "tiny",
        "task": Task.EMBEDDING,
        **more,
    }
    return JobSpec(**values)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [True, False], ids=["normalised", "as it is"])
async def test_vectors_are_those_of_the_reference_in_every_company(
    maker: ModuleType, tmp_path: Path, pooling: str, normalize: bool
) -> None:
    model = maker.write_encoder(tmp_path / "m", pooling=pooling, normalize=normalize)
    reference = maker.Reference(model, pooling=pooling, normalize=normalize)
    async with running(model) as engine:
        together = await asyncio.gather(*(embed(engine, text) for text in TEXTS))
        alone = [await embed(engine, text) for text in TEXTS[:7]]
        reversed_ = await asyncio.gather(*(embed(engine, text) for text in TEXTS[::-1]))
    for text, outcome in zip(TEXTS, together, strict=True):
        assert np.abs(vector(outcome) - reference.embed(text)).max() < CLOSE
        assert good(outcome).usage.input_tokens == reference.tokens(text)
    for group in (alone, reversed_[::-1]):
        for one, other in zip(group, together, strict=False):
            assert np.abs(vector(one) - vector(other)).max() < CLOSE
    assert (abs(np.linalg.norm(vector(together[0])) - 1) < CLOSE) == normalize


async def test_the_answer_is_a_short_json_array_and_says_who_made_it(encoder: Path) -> None:
    async with running(encoder) as engine:
        reply = good(await embed(engine, "hello"))
    numbers = msgspec.json.decode(reply.text, type=list[float])
    assert len(numbers) == 32
    assert " " not in reply.text
    assert len(reply.text) < 32 * 14
    assert (reply.finish_reason, reply.model) == ("stop", "tiny")
    assert (reply.usage.output_tokens, reply.usage.cached_tokens) == (0, 0)


async def test_a_model_without_token_types_and_without_modules_is_run_and_said(
    maker: ModuleType, tmp_path: Path
) -> None:
    model = maker.write_encoder(tmp_path / "plain", pooling=None, token_types=False)
    async with running(model) as engine:
        outcome = await embed(engine, "hello")
        assert any("mean" in notice for notice in engine.notices)
    expected = maker.Reference(model).embed("hello", token_types=False)
    assert np.abs(vector(outcome) - expected).max() < CLOSE


async def test_a_text_that_is_too_long_is_refused_and_never_cut(
    maker: ModuleType, tmp_path: Path
) -> None:
    """Also where the tokenizer's own file says that texts are to be cut."""
    model = maker.write_encoder(tmp_path / "cutting", truncate_at=8)
    reference = maker.Reference(model)
    text = "refund"
    while reference.tokens(text + " box") <= maker.CONTEXT:
        text += " box"
    async with running(model) as engine:
        fits = await embed(engine, text)
        fault = bad(await embed(engine, text + " box box box"))
    assert good(fits).usage.input_tokens <= maker.CONTEXT
    assert np.abs(vector(fits) - reference.embed(text)).max() < CLOSE
    assert (fault.kind, fault.code, fault.sent) == (F.PERMANENT, "context_length_exceeded", False)
    assert str(maker.CONTEXT) in fault.message


@pytest.mark.parametrize("body", [b"{}", b'{"input":["a","b"]}', b'{"input":[1,2]}', b"\xff"])
async def test_an_input_that_is_not_one_text_is_the_rows_own_fault(
    encoder: Path, body: bytes
) -> None:
    async with running(encoder) as engine:
        fault = bad(await asked(engine, body))
    assert (fault.kind, fault.code, fault.sent) == (F.PERMANENT, "bad_input", False)


async def test_a_wire_body_with_one_text_in_a_list_is_that_text(encoder: Path) -> None:
    async with running(encoder) as engine:
        encode = engine.encoder(spec_of())
        one = await asked(engine, encode("hello"))
        other = await asked(engine, encode(WireBody(b'{"model":"m","input":["hello"]}')))
    assert good(one).text == good(other).text


@pytest.mark.parametrize("packing", ["float", "base64"])
async def test_a_job_that_keeps_bodies_gets_them_in_openais_form(
    encoder: Path, packing: str
) -> None:
    from nightkiln.wire.embedding import parse_embedding

    line = json.dumps({"model": "m", "input": "hello", "encoding_format": packing}).encode()
    async with running(encoder) as engine:
        plain = good(await asked(engine, engine.encoder(spec_of())("hello")))
        encode = engine.encoder(spec_of(keep_bodies=True))
        kept = good(await asked(engine, encode(WireBody(line))))
        own = good(await asked(engine, encode("hello")))
    assert plain.body is None
    assert own.body is not None
    assert kept.body is not None
    read = parse_embedding(kept.body)
    assert (vector(read) == vector(plain)).all()
    assert good(read).usage == plain.usage
    assert good(read).model == "tiny"
    form = json.loads(kept.body)["data"][0]["embedding"]
    assert isinstance(form, str) == (packing == "base64")


async def test_a_length_that_the_model_does_not_have_is_refused(encoder: Path) -> None:
    async with running(encoder) as engine:
        fault = bad(await asked(engine, b'{"input":"hello","dimensions":8}'))
    assert (fault.kind, fault.code) == (F.PERMANENT, "unsupported_parameter")


async def test_a_deadline_is_kept_and_the_engine_goes_on(encoder: Path) -> None:
    async with running(encoder) as engine:
        await engine.start()
        late = await asyncio.gather(*(embed(engine, text, within_s=0.0) for text in TEXTS))
        for fault in map(bad, late):
            assert (fault.kind, fault.code, fault.sent) == (F.TRANSIENT, "timeout", False)
        good(await embed(engine, "hello"))


async def test_cancelled_requests_leave_room_for_others(encoder: Path) -> None:
    async with running(encoder) as engine:
        await engine.start()
        tasks = [asyncio.ensure_future(embed(engine, text)) for text in TEXTS * 20]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in ended)
        good(await embed(engine, "hello"))
        assert engine.pump.restarts == 0


async def test_an_engine_that_is_killed_starts_again_and_no_row_learns_of_it(
    maker: ModuleType, encoder: Path
) -> None:
    async with running(encoder) as engine:
        await engine.start()
        tasks = [asyncio.ensure_future(embed(engine, text)) for text in TEXTS]
        await asyncio.sleep(0)
        assert engine.pump.process is not None
        os.kill(engine.pump.process.pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks)
        assert engine.pump.restarts == 1
    reference = maker.Reference(encoder)
    for text, outcome in zip(TEXTS, outcomes, strict=True):
        assert np.abs(vector(outcome) - reference.embed(text)).max() < CLOSE


async def test_closing_twice_is_safe_and_nothing_runs_afterwards(encoder: Path) -> None:
    async with running(encoder) as engine:
        good(await embed(engine, "hello"))
        waiting = [asyncio.ensure_future(embed(engine, text)) for text in TEXTS]
        await asyncio.sleep(0)
        await engine.aclose()
        await engine.aclose()
        outcomes = [*await asyncio.gather(*waiting), await embed(engine, "x")]
    for fault in map(bad, outcomes):
        assert (fault.kind, fault.code, fault.sent) == (F.LOCAL, "closed", False)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"task": Task.CHAT}, "--task embed"),
        ({"sampling": Sampling(max_tokens=3)}, "--max-tokens"),
        ({"sampling": Sampling(extra={"dimensions": msgspec.Raw(b"8")})}, "dimensions"),
        ({"output_schema": "{}"}, "--schema"),
    ],
)
def test_what_a_vector_cannot_have_is_named_before_anything_runs(
    encoder: Path, more: dict[str, Any], named: str
) -> None:
    engine = EmbeddingEngine(EngineSettings(model=encoder))
    with pytest.raises(UsageError) as caught:
        engine.encoder(spec_of(**more))
    assert named in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("tokenizer.json", None, "tokenizer.json"),
        ("openvino_model.xml", None, "openvino_model.xml"),
        ("config.json", "{", "config.json"),
        ("modules.json", '[{"path":"2_Dense","type":"a.Dense"}]', "Dense"),
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens":true}', "max_tokens"),
    ],
)
def test_a_folder_that_we_cannot_run_is_said_before_anything_is_loaded(
    maker: ModuleType, tmp_path: Path, file: str, content: str | None, named: str
) -> None:
    model = maker.write_encoder(tmp_path / "broken")
    (model / file).unlink()
    if content is not None:
        (model / file).write_text(content)
    with pytest.raises(UsageError, match=named):
        EmbeddingEngine(EngineSettings(model=model))


@pytest.mark.parametrize("file", ["openvino_model.xml", "tokenizer.json"])
async def test_a_model_that_cannot_be_loaded_is_said_at_the_start(
    maker: ModuleType, tmp_path: Path, file: str
) -> None:
    model = maker.write_encoder(tmp_path / "broken")
    (model / file).write_text("no")
    async with running(model) as engine:
        with pytest.raises(UsageError, match="broken"):
            await engine.start()


def test_lengths_come_from_whichever_file_is_strictest(maker: ModuleType, tmp_path: Path) -> None:
    model = maker.write_encoder(tmp_path / "lengths")
    settings = EngineSettings(model=model)
    assert EmbeddingEngine(settings).context == 64
    (model / "tokenizer_config.json").write_text('{"model_max_length":1e30}')
    assert EmbeddingEngine(settings).context == 64
    config = {"model_type": "roberta", "max_position_embeddings": 64, "pad_token_id": 1}
    (model / "config.json").write_text(json.dumps(config))
    assert EmbeddingEngine(settings).context == 62
    (model / "sentence_bert_config.json").write_text('{"max_seq_length":40}')
    assert EmbeddingEngine(settings).context == 40


def test_batches_hold_texts_of_like_length_and_nobody_waits_forever() -> None:
    from nightkiln.backends.engines.embedding_machine import BATCH_ROWS, BATCH_TOKENS, next_batch

    dice = np.random.default_rng(1)
    waiting = {n: [0] * int(size) for n, size in enumerate(dice.integers(1, 500, 400))}
    steps = 0
    while waiting:
        oldest = next(iter(waiting))
        batch = next_batch(waiting)
        sizes = [len(waiting.pop(number)) for number in batch]
        assert oldest in batch
        assert len(batch) <= BATCH_ROWS
        assert len(batch) * max(sizes) <= BATCH_TOKENS or len(batch) == 1
        steps += 1
    assert steps < 400 * 250 * 1.35 / BATCH_TOKENS
