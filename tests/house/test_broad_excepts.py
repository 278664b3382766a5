"""Where a broad `except` may stand, and that the list of places only shrinks.

A broad `except` hides bugs as faults. It belongs at the few borders where one
failure must not reach its neighbours, and each of those is written down here.
`contextlib.suppress(Exception)` counts, and so does a handler that raises again:
`finally` says the same without catching anything.
"""

import ast
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROAD = {"Exception", "BaseException"}
BORDERS = {"row boundary", "http boundary", "command line top", "task owner"}


class Allowed(NamedTuple):
    """One function that may catch everything, the border it guards, and since when."""

    place: str
    border: str
    since: str
    reason: str


ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        place="vault/journal.py:JournalWriter._owned",
        border="task owner",
        since="2026-11-20",
        reason="a thread that dies in silence leaves every slot waiting; its owner raises this",
    ),
    Allowed(
        place="dispatch/lane.py:Lane._answer",
        border="row boundary",
        since="2026-11-20",
        reason="a bug in a backend is this attempt's fault, never the job's",
    ),
    Allowed(
        place="app/jobrun.py:JobRun._paused_by_errors",
        border="task owner",
        since="2026-11-20",
        reason="whatever ends a run early leaves its job paused, then goes on up",
    ),
    Allowed(
        place="http/doorway.py:Doorway._served",
        border="http boundary",
        since="2026-11-20",
        reason="a bug in a route ends as a 500 without its text, and the server goes on",
    ),
    Allowed(
        place="cli/main.py:_guarded",
        border="command line top",
        since="2026-11-20",
        reason="every error ends as a sentence and an exit code, never as a raw traceback",
    ),
)

# Equal to the length of the list. Lower it with every entry that goes; raising
# it is a decision that a reviewer must see.
CEILING = 5


class Handler(NamedTuple):
    """One broad `except` as found: the function it is in, and its line."""

    place: str
    line: int


def handlers_in(node: ast.AST, place: str) -> Iterator[Handler]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inner = f"{place}.{child.name}" if named else place  # type: ignore[attr-defined]
        if is_broad(child):
            yield Handler(place, child.lineno)  # type: ignore[attr-defined]
        yield from handlers_in(child, inner)


def is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or names_everything(node.type)
    if isinstance(node, ast.Call) and last_name(node.func) == "suppress":
        return any(names_everything(argument) for argument in node.args)
    return False


def names_everything(node: ast.expr) -> bool:
    types = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(last_name(caught) in BROAD for caught in types)


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def broad_handlers() -> list[Handler]:
    """Every broad handler of the product, its place written as `dispatch/run.py:Loop.row`."""
    package = ROOT / "src" / "nightkiln"
    found: list[Handler] = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        name = path.relative_to(package).as_posix()
        found += [
            Handler(f"{name}:{handler.place.removeprefix('.')}", handler.line)
            for handler in handlers_in(tree, "")
        ]
    return found


def test_broad_excepts_stand_only_at_the_borders() -> None:
    allowed = {entry.place for entry in ALLOWED}
    strays = [
        f"{handler.place} (line {handler.line})"
        for handler in broad_handlers()
        if handler.place not in allowed
    ]
    if strays:
        pytest.fail(
            "A broad except here turns our own bugs into somebody's fault. Name the exceptions,"
            " or use finally to clean up:\n  " + "\n  ".join(strays),
            pytrace=False,
        )


def test_the_list_has_no_stale_entries() -> None:
    stale = {entry.place for entry in ALLOWED} - {handler.place for handler in broad_handlers()}
    assert not stale, f"These no longer catch everything: remove them and lower CEILING: {stale}"


def test_the_list_only_shrinks() -> None:
    assert len(ALLOWED) == CEILING, "CEILING follows the list down; a new entry needs a reviewer."


def test_every_entry_names_its_border_its_day_and_its_reason() -> None:
    for entry in ALLOWED:
        assert entry.border in BORDERS, entry
        assert dt.date.fromisoformat(entry.since).year >= 2026, entry
        assert len(entry.reason.split()) >= 5, entry
        assert entry.border != "command line top" or entry.place.startswith("cli/"), entry
        assert entry.border != "row boundary" or entry.place.startswith("dispatch/"), entry


@pytest.mark.parametrize(
    "code",
    [
        "try: pass\nexcept: pass",
        "try: pass\nexcept Exception: pass",
        "try: pass\nexcept (OSError, builtins.BaseException): raise",
        "with contextlib.suppress(Exception): pass",
    ],
)
def test_every_way_to_catch_everything_is_seen(code: str) -> None:
    body = "".join(f"    {line}\n" for line in code.splitlines())
    tree = ast.parse(f"class Loop:\n  async def row(self):\n{body}")
    assert [handler.place for handler in handlers_in(tree, "")] == [".Loop.row"]


def test_a_named_exception_is_not_broad() -> None:
    assert not list(handlers_in(ast.parse("try: pass\nexcept (OSError, ValueError): pass"), ""))
