"""A tiny random model on disk and engines that run it; skipped without the extra."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import msgspec
import pytest

from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec, PromptSpec, Sampling, SourceSpec
from nightkiln.core.request import Prompt, Request

for package in ("openvino_genai", "tokenizers", "gguf", "jinja2"):
    pytest.importorskip(package, reason='needs pip install "nightkiln[local]"')

PLENTY = 60.0
Ask: TypeAlias = Callable[..., Awaitable[Reply | Fault]]


def loaded(name: str) -> ModuleType:
    """A module beside this file: tests are no package, so it cannot be imported by name."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"nightkiln_tests_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    return loaded("tiny")


@pytest.fixture(scope="session")
def model(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tiny.write_model(tmp_path_factory.mktemp("model") / "tiny.gguf")
    return path


@pytest.fixture
async def engine(model: Path) -> AsyncIterator[OpenVINOEngine]:
    engine = OpenVINOEngine(EngineSettings(model=model, precision="f32"))
    yield engine
    await engine.aclose()


def spec_for(sampling: Mapping[str, Any], system: str | None = None) -> JobSpec:
    named = {"max_tokens", "temperature", "seed"}
    known = {name: value for name, value in sampling.items() if name in named}
    extra = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in sampling.items()
        if name not in named
    }
    return JobSpec(
        source=SourceSpec(kind="csv", path="/in.csv", name="in.csv", size_bytes=9, sha256="00"),
        prompt=PromptSpec(columns=("text",), system=system),
        model="tiny",
        sampling=Sampling(**known, extra=extra),
    )


@pytest.fixture
def ask(engine: OpenVINOEngine) -> Ask:
    """Ask the engine one row: `await ask("text", max_tokens=8)`."""

    async def answer(
        prompt: Prompt, *, within_s: float = PLENTY, row: int = 0, **sampling: Any
    ) -> Reply | Fault:
        body = engine.encoder(spec_for(sampling))(prompt)
        deadline = asyncio.get_running_loop().time() + within_s
        return await engine.answer(Request(row, body), deadline=deadline)

    return answer


@pytest.fixture
def spec_of() -> Callable[..., JobSpec]:
    return spec_for
