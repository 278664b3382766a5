"""The harness of the examples can fail: what it takes from a page, and what it lets pass."""

from pathlib import Path

import pytest
from tests.docs.blocks import BadPage, Command, Kind, blocks_of, commands_of, difference
from tests.docs.session import Sitting, WrongExample

FENCE = "```"


def page_of(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text.replace("~~~", FENCE))
    return page


@pytest.mark.parametrize(
    "text",
    [
        "~~~toml\na = 1\n~~~\n",
        "~~~\na = 1\n~~~\n",
        "~~~text\nno script before\n~~~\n",
        "text\n\n    indented\n",
        "<!-- not run: just so -->\n~~~console\n$ ls\n~~~\n",
        "<!-- file: a.csv -->\nno block\n",
        "<!-- server: other -->\n~~~console\n$ ls\n~~~\n",
    ],
)
def test_a_block_that_nothing_runs_is_a_mistake_of_the_page(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadPage):
        blocks_of(page_of(tmp_path, text))


def test_a_comment_holds_for_the_next_block_only(tmp_path: Path) -> None:
    text = "<!-- file: a.txt -->\n~~~text\na\n~~~\n\n~~~console\n$ cat a.txt\na\n~~~\n"
    kinds = [block.kind for block in blocks_of(page_of(tmp_path, text))]
    assert kinds == [Kind.FILE, Kind.CONSOLE]


def test_a_command_goes_on_after_a_backslash_and_inside_quotes() -> None:
    assert commands_of("$ a \\\n    b\nout\n$ echo 'x\ny'\n$ c\n") == [
        Command("a \\\n    b", ("out",)),
        Command("echo 'x\ny'", None),
        Command("c", None),
    ]


def test_what_varies_is_a_wildcard_and_nothing_else_is() -> None:
    assert difference(("in … s", "…", "end"), "in 1.5 s\na\nb\nend\n") is None
    assert difference(("…", "end"), "end\n") is None
    assert difference(("in … s",), "in 1.5\n") is not None
    assert difference(("in …",), "in 1\nmore\n") is not None
    assert difference(("a.c",), "abc\n") is not None


@pytest.mark.parametrize(
    "text",
    [
        "~~~console\n$ echo one\ntwo\n~~~\n",
        "~~~console\n$ false\n~~~\n",
        "~~~console\n$ exit 0\n$ echo never\n~~~\n",
        "~~~console\n$ (exit 3)\n$ echo $?\n4\n~~~\n",
        "~~~console\n$ echo http://127.0.0.1:8000/v1\n~~~\n",
        "~~~python\nraise SystemExit(1)\n~~~\n",
        "~~~python\nprint(1)\n~~~\n~~~text\n2\n~~~\n",
    ],
)
def test_an_example_that_does_otherwise_fails(tmp_path: Path, text: str) -> None:
    page = page_of(tmp_path, text)
    with pytest.raises(WrongExample):
        run(page, tmp_path)


def run(page: Path, folder: Path) -> None:
    with Sitting(page, folder) as sitting:
        for block in blocks_of(page):
            sitting.run(block)


def test_an_example_that_does_what_it_shows_passes(tmp_path: Path) -> None:
    text = "~~~console\n$ (exit 3)\n$ echo $?\n3\n~~~\n~~~python\nprint(1)\n~~~\n~~~text\n1\n~~~\n"
    page = page_of(tmp_path, text)
    run(page, tmp_path)
