"""One run over a task's rows, with nightkiln or with the same engine driven bare.

    engine_child.py bare  TASK.json ANSWERS.json   add_request and step, and nothing else
    engine_child.py list  TASK.json ANSWERS.json   one call of the engine's own `generate`
    engine_child.py ours  TASK.json ARGUMENTS...   the real command line

All three clocks begin when the model is loaded. Bare, they end with the last
answer as text in memory; ours, when the command has returned, its output table
written. Ours runs the engine in a process of its own: its CPU time is counted
too, and an answer counts when it has arrived in the process that asked. Bare
does what any program has to do: it renders the model's chat template and cuts
the text into tokens, with the same code as ours, so that both ask the same token
ids in the same order. Said as JSON on standard output.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import psutil
from bench.engineinputs import Task

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.chat_template import ChatTemplate
from nightkiln.backends.engines.gguf_file import read_metadata
from nightkiln.backends.engines.gguf_tokenizer import rebuilt
from nightkiln.backends.engines.messages import Told as Arrived
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.backends.engines.openvino_machine import best_precision
from nightkiln.backends.engines.pump import Pump
from nightkiln.cli.main import main
from nightkiln.core.job import JobSpec


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has used once its model was loaded."""

    wall_s: float
    cpu_s: float  # of all threads and of the engine's own process
    asking_s: float = 0.0  # CPU of the process that asks, when the engine runs in another
    loading_s: float  # after the imports, until the model was loaded
    tokens: int = 0  # generated
    ended: tuple[tuple[float, int], ...] = ()  # seconds since the load, tokens of who ended then

    @property
    def steady(self) -> float:
        """Tokens a second between the first and the last tenth of them."""
        past, marks = 0, []
        for at, tokens in self.ended:
            past += tokens
            if self.tokens / 10 <= past <= self.tokens * 0.9:
                marks.append((at, past))
        (first, before), (last, after) = marks[0], marks[-1]
        return (after - before) / (last - first) if last > first else 0.0


class Watch:
    """The clocks of one run."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._loaded = self._began
        self._cpu = self._asking = 0.0
        self._ended: list[tuple[float, int]] = []

    def loaded(self, engine: int | None = None) -> None:
        """The model is there, in a process with this id: everything counts from now."""
        self._loaded, self._asking = time.monotonic(), time.process_time()
        self._cpu = self._asking
        if engine is not None:
            used = psutil.Process(engine).cpu_times()
            self._cpu += used.user + used.system

    def ended(self, tokens: int) -> None:
        """Some requests have ended, with so many tokens."""
        self._ended.append((round(time.monotonic() - self._loaded, 4), tokens))

    def told(self) -> Told:
        """The account until now."""
        return Told(
            wall_s=time.monotonic() - self._loaded,
            cpu_s=_cpu_of_all() - self._cpu,
            asking_s=time.process_time() - self._asking,
            loading_s=self._loaded - self._began,
            tokens=sum(tokens for _, tokens in self._ended),
            ended=tuple(self._ended),
        )


def _cpu_of_all() -> float:
    """Of this process and its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def ours(arguments: list[str], watch: Watch) -> Told:
    """Nightkiln's own command line; two methods say when something happened."""
    start, told = OpenVINOEngine.start, Pump._on_told  # noqa: SLF001  # the clock sits inside

    async def starting(engine: OpenVINOEngine, spec: JobSpec | None = None) -> None:
        await start(engine, spec)
        assert engine.pump.process is not None
        watch.loaded(engine.pump.process.pid)

    def arriving(pump: Pump, arrived: Arrived) -> None:
        if arrived.ended:
            watch.ended(sum(len(ended.ids) for ended in arrived.ended))
        told(pump, arrived)

    setattr(OpenVINOEngine, "start", starting)  # noqa: B010  # mypy: methods are not for assigning
    setattr(Pump, "_on_told", arriving)  # noqa: B010
    code = main(arguments)
    found = watch.told()
    if code:
        sys.exit(code)
    return found


class Bare:
    """The engine with the settings nightkiln gives it, and a list of rows."""

    def __init__(self, task: Task, watch: Watch) -> None:
        import numpy as np
        import openvino
        import openvino_genai as genai

        self._array: Callable[..., Any] = np.array
        self._int64, self._tensor, self._genai = np.int64, openvino.Tensor, genai
        self._task, self._watch = task, watch
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = task.kv_cache_gb
        scheduler.max_num_seqs = task.side_by_side
        scheduler.enable_prefix_caching = True
        metadata = read_metadata(Path(task.model))
        tokens = rebuilt(metadata)
        assert tokens is not None
        self._tokens = tokens
        properties = {"INFERENCE_PRECISION_HINT": best_precision()}
        self._pipeline = genai.ContinuousBatchingPipeline(task.model, scheduler, "CPU", properties)
        theirs = self._pipeline.get_tokenizer()
        self._template = ChatTemplate(
            metadata.template or "", bos=theirs.get_bos_token(), eos=theirs.get_eos_token()
        )
        self._config = genai.GenerationConfig(
            max_new_tokens=task.max_tokens, ignore_eos=True, apply_chat_template=False
        )
        watch.loaded()

    def listed(self) -> list[str]:
        """Every row in one call."""
        asked = [self._ids(text) for text in self._task.texts]
        answers = self._pipeline.generate(asked, [self._config] * len(asked))
        found = [answer.m_generation_ids[0] for answer in answers]
        self._watch.ended(sum(map(len, found)))
        return [self._tokens.decode(list(ids)) for ids in found]

    def stepped(self) -> list[str]:
        """Twice as many rows in the pipeline as it takes side by side, until all are through."""
        texts, answers = self._task.texts, [""] * len(self._task.texts)
        running: dict[Any, int] = {}
        coming = iter(range(len(texts)))
        alive = self._genai.GenerationStatus.RUNNING
        while True:
            while len(running) < 2 * self._task.side_by_side:
                if (row := next(coming, None)) is None:
                    break
                running[self._pipeline.add_request(row, self._ids(texts[row]), self._config)] = row
            if not running:
                return answers
            self._pipeline.step()
            count = 0
            for handle in [handle for handle in running if handle.get_status() != alive]:
                ids = handle.read_all()[0].generated_ids
                answers[running.pop(handle)] = self._tokens.decode(ids)
                count += len(ids)
            if count:
                self._watch.ended(count)

    def _ids(self, text: str) -> Any:
        messages = [Message("user", text)]
        if self._task.system is not None:
            messages.insert(0, Message("system", self._task.system))
        ids = self._tokens.encode(self._template.render(messages), whole=True)
        return self._tensor(self._array([ids], dtype=self._int64))


def bare(how: str, task: Task, answers: Path, watch: Watch) -> Told:
    """The same rows without nightkiln."""
    engine = Bare(task, watch)
    found = engine.listed() if how == "list" else engine.stepped()
    told = watch.told()
    answers.write_bytes(msgspec.json.encode(found))
    return told


def run(arguments: list[str]) -> Told:
    """What the command line asks for."""
    how, task, *rest = arguments
    watch = Watch()
    if how == "ours":
        return ours(rest, watch)
    return bare(how, msgspec.json.decode(Path(task).read_bytes(), type=Task), Path(rest[0]), watch)


if __name__ == "__main__":
    print(msgspec.json.encode(run(sys.argv[1:])).decode())
