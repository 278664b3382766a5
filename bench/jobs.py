"""Our own command line as the benches call it, each run in a home of its own."""

from collections.abc import Sequence
from pathlib import Path

from bench.processes import Child, Cost, ended
from bench.servers import Server

SLOTS = 512
OUT_TOKENS = "const:120"  # 480 bytes of text
CAPACITY = ("--capacity", str(SLOTS), "--out-tokens", OUT_TOKENS)
_ROW_ERRORS = 3  # the exit code; whoever compares the rows says how many
REAL = ("-m", "nightkiln")
STOPWATCH = (str(Path(__file__).parent / "stopwatch.py"),)


def command(
    source: Path,
    output: Path,
    *,
    server: Server,
    home: Path,
    program: tuple[str, ...] = REAL,
    slots: int | None = SLOTS,
    more: Sequence[str] = (),
) -> list[str]:
    """The arguments of `nightkiln run` for one table; without `slots` it finds them itself."""
    return [
        *program,
        "run",
        str(source),
        "--output",
        str(output),
        "--endpoint",
        server.url,
        "--model",
        "stub",
        "--concurrency",
        "auto" if slots is None else str(slots),
        "--home",
        str(home),
        *(more or ("--quiet",)),
    ]


def start(
    source: Path,
    output: Path,
    *,
    server: Server,
    home: Path,
    program: tuple[str, ...] = REAL,
    slots: int | None = SLOTS,
    more: Sequence[str] = (),
) -> Child:
    """Start a job and leave it to the caller. `more` options come in place of `--quiet`."""
    line = command(
        source, output, server=server, home=home, program=program, slots=slots, more=more
    )
    trust = {} if server.certificate is None else {"SSL_CERT_FILE": str(server.certificate)}
    return Child(line, log=output.with_suffix(".log"), env=trust)


def finish(
    source: Path,
    output: Path,
    *,
    server: Server,
    home: Path,
    program: tuple[str, ...] = REAL,
    slots: int | None = SLOTS,
    more: Sequence[str] = (),
) -> Cost:
    """Run a job to its end, row errors or not. Raises BenchError."""
    child = start(source, output, server=server, home=home, program=program, slots=slots, more=more)
    return over(child)


def over(child: Child) -> Cost:
    """Wait for a job that was started, row errors or not. Raises BenchError."""
    return ended(child, fine=(0, _ROW_ERRORS))
