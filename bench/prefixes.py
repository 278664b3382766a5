"""Questions about documents, shuffled: our order against the table's, over servers and an engine.

The servers keep as many beginnings as a fifth of the documents have. Both sides are
the same command line; the other one has the order taken out (`tableorder.py`). The
engine is the embedded one with the random model; its cache holds fewer documents
than there are, and every answer has the same length.
"""

import http.client
import importlib.util
import random
import string
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec
from bench import inputs, jobs
from bench.caching_server import BLOCK, Counts
from bench.enginemodels import random_135m
from bench.figures import Figure
from bench.processes import BenchError, Child, run
from bench.servers import Server

ROWS, QUESTIONS = 4000, 25
LETTERS = 4000  # of a document
SLOTS = 32  # at each server
KEPT = 0.2  # of the documents, by all servers together
PAIRS = 3
ENGINE_DOCUMENTS, ENGINE_QUESTIONS, ENGINE_LETTERS = 96, 4, 1700
ENGINE_TOKENS = 16  # of every answer
ENGINE_SLOTS = 64  # what it works on side by side; a longer queue would be in its order, not ours
_AGAINST = "prefix cache"
_SERVER = str(Path(__file__).with_name("caching_server.py"))
_PLAIN = (str(Path(__file__).with_name("tableorder.py")),)
_ENGINE = (str(Path(__file__).with_name("engine_child.py")),)
_READY_S = 20.0
_NEEDS = ("openvino_genai", "gguf", "tokenizers", "numpy")


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """One run over servers."""

    cached: float  # per cent of the tokens
    rate: float  # rows a second, from the first request to the last answer


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What `engine_child.py` says, as far as it is used here."""

    wall_s: float
    tokens: int


def measure(*, work: Path, pairs: int = PAIRS, rows: int = ROWS) -> list[Figure]:
    """One server, two servers, and the engine where its extra is installed."""
    figures = []
    for count in (1, 2):
        figures += _servers(count, work=work, pairs=pairs, rows=rows)
    if all(importlib.util.find_spec(name) for name in _NEEDS):
        documents = ENGINE_DOCUMENTS if rows == ROWS else max(2, rows // QUESTIONS)
        figures += _engine(documents, work=work)
    return figures


def texts(documents: int, questions: int, letters: int) -> list[str]:
    """Every question about every document, shuffled, the same everywhere."""
    dice = random.Random(40)
    words = ["".join(dice.choices(string.ascii_lowercase, k=5)) for _ in range(600)]
    bodies = [" ".join(dice.choices(words, k=letters // 6)) for _ in range(documents)]
    rows = [f"Read this: {one}\nQuestion {n:03d}?" for one in bodies for n in range(questions)]
    dice.shuffle(rows)
    return rows


# -- over servers


def _servers(count: int, *, work: Path, pairs: int, rows: int) -> list[Figure]:
    table = texts(max(2, rows // QUESTIONS), QUESTIONS, LETTERS)
    folder = work / f"{count} servers"
    folder.mkdir()
    source = inputs.csv_table(folder / "rows.csv", len(table), of=table.__getitem__)
    kept = max(2.0, KEPT * len(table) / QUESTIONS / count)  # documents
    blocks = int(kept * LETTERS / BLOCK) + 1
    found: list[tuple[Once, Once]] = []
    for number in range(pairs):
        sides: dict[bool, Once] = {}
        for ordered in (True, False) if number % 2 else (False, True):
            home = folder / f"{number} {ordered}"
            home.mkdir()
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(_serving(blocks, home / f"server{n}.log"))
                    for n in range(count)
                ]
                sides[ordered] = _once(servers, source, home, table.__getitem__, ordered)
        found.append((sides[True], sides[False]))
    return _figures("one server" if count == 1 else f"{count} servers", found)


@contextmanager
def _serving(blocks: int, log: Path) -> Iterator[Server]:
    child = Child([_SERVER, "--blocks", str(blocks)], log=log)
    try:
        yield Server(_AGAINST, _port_of(child, log))
    finally:
        child.kill()


def _port_of(child: Child, log: Path) -> int:
    until = time.monotonic() + _READY_S
    while child.running and time.monotonic() < until:
        if (said := log.read_text()).endswith("\n"):
            return urlsplit(said.strip()).port or 0
        time.sleep(0.02)
    raise BenchError(f"the server did not start: {child.complaint()}")


def _once(
    servers: list[Server], source: Path, home: Path, of: inputs.Prompts, ordered: bool
) -> Once:
    output = home / "out.csv"
    others = [part for one in servers[1:] for part in ("--endpoint", one.url)]
    jobs.finish(
        source,
        output,
        server=servers[0],
        home=home / "home",
        program=jobs.REAL if ordered else _PLAIN,
        slots=SLOTS,
        more=("--quiet", *others),
    )
    found = inputs.checked(output, of=of)
    if found.wrong_of(found.rows):
        raise BenchError(f"{output} is not what was asked for")
    counts = [_counts(one) for one in servers]
    began, ended = min(one.began for one in counts), max(one.ended for one in counts)
    return Once(
        cached=100 * sum(one.cached for one in counts) / sum(one.tokens for one in counts),
        rate=found.rows / (ended - began),
    )


def _counts(server: Server) -> Counts:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10.0)
    connection.request("GET", "/_ctl/stats")
    return msgspec.json.decode(connection.getresponse().read(), type=Counts)


def _figures(name: str, found: list[tuple[Once, Once]]) -> list[Figure]:
    def figure(
        said: str, unit: str, of: Callable[[Once, Once], float], least: float | None = None
    ) -> Figure:
        samples = tuple(of(ours, plain) for ours, plain in found)
        return Figure(
            workload="prefixes",
            name=f"{name}: {said}",
            value=median(samples),
            unit=unit,
            samples=samples,
            at_least=least,
            against=_AGAINST,
        )

    return [
        figure("tokens found cached, our order", "%", lambda ours, _: ours.cached),
        figure("tokens found cached, the table's order", "%", lambda _, plain: plain.cached),
        figure("rate, our order", "rows/s", lambda ours, _: ours.rate),
        figure("rate, the table's order", "rows/s", lambda _, plain: plain.rate),
        figure("rate, times the table's", "", lambda ours, plain: ours.rate / plain.rate, 1.0),
    ]


# -- over the engine


def _engine(documents: int, *, work: Path) -> list[Figure]:
    """One pair: an engine takes minutes for each side."""
    rows = texts(documents, ENGINE_QUESTIONS, ENGINE_LETTERS)
    plain = _engine_once(rows, work / "engine table", (*_PLAIN, "engine"))
    ours = _engine_once(rows, work / "engine ours", _ENGINE)
    asked = len(rows) / ours.wall_s, len(rows) / plain.wall_s

    def figure(said: str, value: float, unit: str = "", least: float | None = None) -> Figure:
        return Figure(
            workload="prefixes",
            name=f"engine, {documents} documents: {said}",
            value=value,
            unit=unit,
            at_least=least,
        )

    return [
        figure("rate, our order", asked[0], "rows/s"),
        figure("rate, the table's order", asked[1], "rows/s"),
        figure("tokens written, our order", ours.tokens / ours.wall_s, "tokens/s"),
        figure("tokens written, the table's order", plain.tokens / plain.wall_s, "tokens/s"),
        figure("rate, times the table's", asked[0] / asked[1], "", 1.0),
    ]


def _engine_once(rows: list[str], folder: Path, program: tuple[str, ...]) -> Told:
    """The real command line, its clock starting when the model is loaded."""
    folder.mkdir()
    source = inputs.csv_table(folder / "rows.csv", len(rows), of=rows.__getitem__)
    said = ["run", str(source), "--output", str(folder / "out.csv"), "--model", str(random_135m())]
    said += ["--max-tokens", str(ENGINE_TOKENS), "--temperature", "0", "--param"]
    said += [
        "ignore_eos=true",
        "--concurrency",
        str(ENGINE_SLOTS),
        "--home",
        str(folder / "home"),
        "--quiet",
    ]
    cost = run([*program, "ours", "-", *said], log=folder / "engine.log")
    return msgspec.json.decode(cost.said, type=Told)
