"""The demonstration behind `make demo`: a real model answers a real table, at no cost.

It runs the tickets of `examples/` through the pilot, the small model that ships
in the package, holds its topics against the labels that people gave, and says
what to try next. It reaches no other machine and leaves `build/demo/` only.
"""

import csv
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICKETS = ROOT / "examples" / "tickets.csv"
SCHEMA = ROOT / "examples" / "ticket.schema.json"
BUILD = ROOT / "build" / "demo"
ANSWERS = BUILD / "answers.csv"
NIGHTKILN = Path(sysconfig.get_path("scripts")) / "nightkiln"
PROMPT = "Classify this ticket as JSON with the fields topic, sentiment and urgency.\n\n{text}"

RUN_S = 300.0
COLUMNS = {"id": 5, "text": 46, "human_label": 12, "topic": 9, "sentiment": 10, "urgency": 8}
ROWS_SHOWN = 12


class DemoError(Exception):
    """The demonstration could not go on; the message says what to look at."""


def main() -> int:
    """Run the demonstration and return the exit code of the job."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    say("A real model answers a real table: the pilot, a tiny model that ships in the package,")
    say("on this machine's processor. Nothing is downloaded, nothing is sent, nothing is paid.\n")
    try:
        code, seconds = run_job()
        if code == 0:
            show_answers(seconds)
    except DemoError as failure:
        print(f"demo failed: {failure}", file=sys.stderr)
        return 1
    return code


def say(line: str) -> None:
    """Print now, so that our lines and those of the command keep their order."""
    print(line, flush=True)


def run_job() -> tuple[int, float]:
    """Run the tickets through `nightkiln run`; its exit code and how long it took."""
    arguments = ["run", named(TICKETS), "-o", named(ANSWERS)]
    arguments += ["--schema", named(SCHEMA), "--prompt", PROMPT, "--temperature", "0"]
    say(f"$ nightkiln {shlex.join(arguments)}\n")
    started = time.monotonic()
    try:
        done = subprocess.run(
            [str(NIGHTKILN), *arguments],
            cwd=ROOT,
            env={**os.environ, "NIGHTKILN_HOME": str(BUILD / "home")},
            timeout=RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"the job was not done after {RUN_S:.0f} s") from None
    return done.returncode, time.monotonic() - started


def named(path: Path) -> str:
    """A path as one types it in the checkout."""
    return str(path.relative_to(ROOT))


def show_answers(seconds: float) -> None:
    """Print the first rows, the agreement with the labels, and what to try next."""
    tickets, answers = read_table(TICKETS), read_table(ANSWERS)
    if [row["id"] for row in answers] != [row["id"] for row in tickets]:
        raise DemoError(f"{ANSWERS} does not hold the rows of {TICKETS} in their order")
    say("\n" + "  ".join(clipped(name, width) for name, width in COLUMNS.items()))
    for row in answers[:ROWS_SHOWN]:
        say("  ".join(clipped(row[name], width) for name, width in COLUMNS.items()))
    agree = sum(row["topic"] == row["human_label"] for row in answers)
    say(f"... {len(answers)} rows in {named(ANSWERS)}\n")
    say(f"agreement with the people who labelled them: {agree} of {len(answers)}")
    say(f"{len(answers) / seconds:.0f} rows/s, loading the model and writing the table included\n")
    say("next:")
    command = ".venv/bin/nightkiln run YOUR.csv -o OUT.csv --prompt '... {column}'"
    say(f"  {command} --endpoint URL --model NAME")
    say(f"  {command} --model MODEL.gguf")
    say("  .venv/bin/nightkiln run --help")


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
