"""Seams that import contracts cannot see: who may append, write, make real, and look outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "nightkiln"
SEAMS = {
    # what is called: the only files that may call it
    "journal.append": {"dispatch/openchunk.py"},
    "journal.sent": {"dispatch/openchunk.py"},
    "write_part": {"worker/sealing.py"},
    "chunks.commit": {"service/leases.py"},
}


def calls() -> Iterator[tuple[str, str]]:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(SOURCE).as_posix(), ast.unparse(node.func)


@pytest.mark.parametrize(("called", "allowed"), SEAMS.items())
def test_what_makes_answers_real_is_done_in_one_place(called: str, allowed: set[str]) -> None:
    callers = {file for file, name in calls() if name == called or name.endswith("." + called)}
    assert callers == allowed, f"{called} is the business of {allowed} alone"


def test_nothing_below_app_reads_the_environment() -> None:
    below = [path for path in SOURCE.rglob("*.py") if path.parts[-2] not in {"app", "cli", "sdk"}]
    readers = [
        path.relative_to(SOURCE).as_posix()
        for path in below
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]
    assert not readers, f"credentials and settings come in as arguments, not from {readers}"
