"""The demonstration behind `make demo`: one job, start to finish, at no cost.

It starts the simulated provider on a free loopback port, sends the tickets of
`examples/` through `nightkiln run`, shows the first rows of the answers, and
stops the provider. It reaches no other machine and leaves `build/demo/` only.
"""

import csv
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICKETS = ROOT / "examples" / "tickets.csv"
BUILD = ROOT / "build" / "demo"
ANSWERS = BUILD / "answers.csv"
NIGHTKILN = Path(sysconfig.get_path("scripts")) / "nightkiln"
PROMPT = "Classify this ticket as billing, shipping, defect, account or praise: {text}"

READY_S = 30.0
RUN_S = 300.0
STOP_S = 10.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:[0-9]+")
COLUMNS = {"id": 6, "text": 34, "answer": 30, "status": 8, "output_tokens": 13, "latency_ms": 10}
ROWS_SHOWN = 8


class DemoError(Exception):
    """The demonstration could not go on; the message says what to look at."""


def main() -> int:
    """Run the demonstration and return the exit code of the job."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    say("This runs a real job against nightkiln's own simulated provider:")
    say("the machinery is the real one, the answers are made up, and nothing is paid.\n")
    try:
        with simulated_provider() as address:
            say(f"simulated provider: {address}")
            code = run_job(endpoint=f"{address}/v1")
        if code == 0:
            show_answers()
    except DemoError as failure:
        print(f"demo failed: {failure}", file=sys.stderr)
        return 1
    return code


def say(line: str) -> None:
    """Print now, so that our lines and those of the commands keep their order."""
    print(line, flush=True)


@contextmanager
def simulated_provider() -> Iterator[str]:
    """Start the provider on a free port, yield its address, and stop that process."""
    process = subprocess.Popen(
        [str(NIGHTKILN), "simulate", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    try:
        yield ready_address(process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready_address(process: subprocess.Popen[str]) -> str:
    """The address from the provider's ready line.

    A thread keeps reading after the ready line, so a talkative provider never
    blocks on a full pipe; it ends when the provider does.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    heard = ""
    while True:
        try:
            line = lines.get(timeout=READY_S)
        except queue.Empty:
            raise DemoError(f"the provider was not ready after {READY_S:.0f} s:\n{heard}") from None
        if line is None:
            raise DemoError(f"the provider stopped before it was ready:\n{heard}")
        heard += line
        if found := ADDRESS.search(line):
            return found.group()


def run_job(endpoint: str) -> int:
    """Run the tickets through `nightkiln run`, printing the command one would type."""
    arguments = ["run", str(TICKETS.relative_to(ROOT)), "-o", str(ANSWERS.relative_to(ROOT))]
    arguments += ["--endpoint", endpoint, "--model", "simulated", "--prompt", PROMPT]
    say(f"$ nightkiln {shlex.join(arguments)}\n")
    try:
        done = subprocess.run(
            [str(NIGHTKILN), *arguments],
            cwd=ROOT,
            env=environment(),
            timeout=RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"the job was not done after {RUN_S:.0f} s") from None
    return done.returncode


def environment() -> dict[str, str]:
    """Our environment with a home of the demo's own: your jobs are never touched."""
    return {**os.environ, "NIGHTKILN_HOME": str(BUILD / "home")}


def show_answers() -> None:
    """Print the first rows, after checking that each ticket has its answer, in order."""
    tickets, answers = read_table(TICKETS), read_table(ANSWERS)
    if [row["id"] for row in answers] != [row["id"] for row in tickets]:
        raise DemoError(f"{ANSWERS} does not hold the rows of {TICKETS} in their order")
    say("\n" + "  ".join(clipped(name, width) for name, width in COLUMNS.items()))
    for row in answers[:ROWS_SHOWN]:
        say("  ".join(clipped(row[name], width) for name, width in COLUMNS.items()))
    say(f"... {len(answers)} rows in {ANSWERS.relative_to(ROOT)}")


def read_table(path: Path) -> list[dict[str, str]]:
    """All rows of a small CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def clipped(text: str, width: int) -> str:
    """One line of exactly `width` characters."""
    line = " ".join(text.split())
    return (line if len(line) <= width else line[: width - 1] + "…").ljust(width)


if __name__ == "__main__":
    sys.exit(main())
