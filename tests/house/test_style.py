"""The house rules that a parser can check: size, names, docstrings, prints, sleeps, notes.

Each failure says why the rule exists, because a rule nobody understands is
worked around. Nothing here imports the code it reads.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("src", "tests", "tools", "bench")
FILE_LINES = 400
FUNCTION_LINES = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
NOTE = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\([a-z][\w.-]*\))")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Source(NamedTuple):
    """One file of ours: where it is, what it says, and how Python reads it."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@cache
def sources() -> tuple[Source, ...]:
    paths = sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))
    texts = [(path, path.read_text(encoding="utf-8")) for path in paths]
    return tuple(Source(path, text, ast.parse(text, str(path))) for path, text in texts)


def product() -> Iterator[Source]:
    return (source for source in sources() if source.name.startswith("src/"))


def refuse(offences: list[str], reason: str) -> None:
    if offences:
        pytest.fail(f"{reason}\n  " + "\n  ".join(offences), pytrace=False)


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_the_rules_see_the_package() -> None:
    assert any(source.name == "src/nightkiln/__init__.py" for source in sources())


def test_a_file_is_short_enough_to_hold_in_the_head() -> None:
    lengths = [(source.name, len(source.text.splitlines())) for source in sources()]
    refuse(
        [f"{name}: {lines} lines" for name, lines in lengths if lines > FILE_LINES],
        f"A file has at most {FILE_LINES} lines: beyond that it holds two ideas. Split it by noun.",
    )


def test_a_function_fits_on_a_screen() -> None:
    long = [
        f"{source.name}:{node.lineno} {node.name}: {lines} lines"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, FUNCTIONS)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    refuse(
        long,
        f"A function has at most {FUNCTION_LINES} lines: its steps deserve names of their own.",
    )


def test_a_module_is_named_for_what_it_holds() -> None:
    named = [
        source.name
        for source in sources()
        if BANNED_NAMES & {part.lstrip("_") for part in Path(source.name).with_suffix("").parts}
    ]
    refuse(named, "These names say nothing and attract everything. Name the noun of the domain.")


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        source.name
        for source in sources()
        if not source.name.startswith("tests/") and not ast.get_docstring(source.tree)
    ]
    refuse(silent, "A module opens with a docstring: what it is for and what it never does.")


def test_only_the_command_line_prints() -> None:
    prints = [
        f"{source.name}:{call.lineno}"
        for source in product()
        if not source.name.startswith("src/nightkiln/cli/")
        for call in calls(source.tree)
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    refuse(prints, "Libraries never print: return a value or log an event; faces draw it.")


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    sleeps = [
        f"{source.name}:{call.lineno}"
        for source in sources()
        if source.name.startswith("tests/")
        for polls in [polling(source.tree)]
        for call in calls(source.tree)
        if is_sleep(call.func) and call.args and is_wait(call.args[0]) and call not in polls
    ]
    refuse(
        sleeps,
        "A sleep in a test is a guess: too short on a busy machine, too long on every other."
        " Wait for the condition with a deadline, or use the fake clock.",
    )


def polling(tree: ast.Module) -> set[ast.AST]:
    """Everything inside a `while`: a short sleep between two looks at a condition is no guess."""
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.While))
    return {inner for loop in loops for inner in ast.walk(loop)}


def is_sleep(func: ast.expr) -> bool:
    if isinstance(func, ast.Name):
        return func.id == "sleep"
    return (
        isinstance(func, ast.Attribute)
        and func.attr == "sleep"
        and isinstance(func.value, ast.Name)
        and func.value.id in {"time", "asyncio"}
    )


def is_wait(duration: ast.expr) -> bool:
    """A constant other than zero: `asyncio.sleep(0)` only lets other tasks run."""
    if any(not isinstance(node, CONSTANT_NODES) for node in ast.walk(duration)):
        return False
    return any(isinstance(node, ast.Constant) and node.value != 0 for node in ast.walk(duration))


CONSTANT_NODES = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)


def test_every_note_to_ourselves_has_an_owner() -> None:
    orphans = [
        f"{source.name}:{token.start[0]} {token.string}"
        for source in sources()
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline)
        if token.type == tokenize.COMMENT and NOTE.search(token.string)
    ]
    refuse(orphans, "A note without an owner is never done. Write TODO(name): and what is missing.")
