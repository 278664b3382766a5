"""Embeddings through nightkiln against the bare model: `python bench/embedding.py [--rows N]`.

Both cut the same texts into tokens and ask the same model in the same batches.
Bare, the vectors stay in memory; ours, they are in a finished table. Each run is
a process of its own, and a rate is that of the rows by which a long run exceeds
a short one, so that starts and loading count on neither side. Needs the extra `local`.
"""

import argparse
import csv
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import msgspec
from bench.encodermodel import random_minilm
from bench.figures import Figure
from bench.processes import BenchError, Cost, run
from bench.run import line, report, save

from nightkiln.backends.engines.embedding import AT_HAND, MACHINE
from nightkiln.backends.engines.embedding_machine import EmbeddingMachine, next_batch
from nightkiln.backends.engines.messages import Load

ROWS = 6000  # a quarter of it still has as many chunks
PAIRS = 3
_BARE = "--bare"
_TARGET = 97.0


def texts(rows: int) -> Iterator[str]:
    """Texts of about 10 to 150 tokens, the same every time."""
    dice = random.Random(9)
    words = ["order", "refund", "parcel", "import", "return", "the", "of", "late", "12", "where"]
    for number in range(rows):
        size = min(100, max(4, int(dice.lognormvariate(3.0, 0.7))))
        yield f"{number}: {' '.join(dice.choices(words, k=size))}"


def bare(model: Path, table: Path) -> None:
    """The model alone. Its vectors are computed and let go of."""
    from tokenizers import Tokenizer

    load = Load(machine=MACHINE, model=str(model), context=512, own_tokens=False)
    machine = EmbeddingMachine(load)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    with table.open(newline="") as given:
        rows = [row["text"] for row in csv.DictReader(given)]
    waiting: dict[int, list[int]] = {}
    at = 0
    while waiting or at < len(rows):
        while at < len(rows) and len(waiting) < AT_HAND:
            waiting[at] = tokenizer.encode(rows[at]).ids
            at += 1
        batch = [waiting.pop(number) for number in next_batch(waiting)]
        machine.vectors(batch)


def measured(rows: int, model: Path, work: Path) -> tuple[Cost, Cost]:
    """A run of ours and one of the bare model, over that many rows."""
    table = work / f"{rows}.csv"
    with table.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text"])
        writer.writerows([text] for text in texts(rows))
    home = tempfile.mkdtemp(prefix="home-", dir=work)
    said = ["run", str(table), "-o", str(work / "ours.jsonl"), "--model", str(model)]
    said += ["--task", "embed", "--home", home, "--quiet"]
    mine = run(["-m", "nightkiln", *said], log=work / "ours.log")
    with (work / "ours.jsonl").open("rb") as out_:
        answers = [msgspec.json.decode(each)["answer"] for each in out_]
    if len(answers) != rows or not all(answers):
        raise BenchError(f"{len(answers)} answers to {rows} rows")
    return mine, run([__file__, _BARE, str(model), str(table)], log=work / "bare.log")


def compare(rows: int, pairs: int, work: Path) -> tuple[Figure, ...]:
    """Rates and CPU of both sides."""
    model = random_minilm()
    short = rows // 4
    found = [(measured(short, model, work), measured(rows, model, work)) for _ in range(pairs)]
    more = rows - short

    def rates(side: int) -> list[float]:
        return [more / (long[side].wall_s - few[side].wall_s) for few, long in found]

    def costs(side: int) -> list[float]:
        return [1e6 * (long[side].cpu_s - few[side].cpu_s) / more for few, long in found]

    def figure(name: str, values: Sequence[float], unit: str, least: float | None = None) -> Figure:
        return Figure(
            workload="embedding, random-minilm",
            name=name,
            value=statistics.median(values),
            unit=unit,
            at_least=least,
            samples=tuple(values) if len(values) > 1 else (),
        )

    ours_, bare_ = rates(0), rates(1)
    share = [100 * mine / other for mine, other in zip(ours_, bare_, strict=True)]
    extra = [mine - other for mine, other in zip(costs(0), costs(1), strict=True)]
    return (
        figure("rate, of bare", share, "%", _TARGET),
        figure("ours", ours_, "rows/s"),
        figure("bare", bare_, "rows/s"),
        figure("CPU a row, bare", costs(1), "µs"),
        figure("CPU a row beyond bare", extra, "µs"),
    )


def main(argv: Sequence[str]) -> int:
    """Measure, print and save."""
    if argv[:1] == [_BARE]:
        bare(Path(argv[1]), Path(argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs")
    parser.add_argument("--rows", type=int, default=ROWS, help="of the long run")
    asked = parser.parse_args(argv)
    before, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nightkiln-bench-") as folder:
        figures = compare(asked.rows, asked.pairs, Path(folder))
    for each in figures:
        print(line(each))
    print(save(report(figures, {"embedding": time.monotonic() - began}, before=before)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
