"""Every example of every page runs and prints what its page shows."""

from collections import Counter
from pathlib import Path

import pytest
from tests.docs.blocks import Block, Kind, blocks_of
from tests.docs.session import Sitting

from tools.generate_docs import MADE_BY

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in [ROOT / "README.md", ROOT / "examples/README.md", *(ROOT / "docs").rglob("*.md")]
    if "decisions" not in page.parts
)
NOT_RUN = {
    "README.md": 2,  # pip install; make
    "docs/index.md": 1,  # pip install
    "docs/tutorial.md": 1,  # pip install
    "docs/howto/local-models.md": 1,  # a model of Hugging Face
    "docs/howto/urls.md": 1,  # a table on the internet
    "docs/howto/xlsx.md": 1,  # pip install
}  # how many blocks of a page may stay unrun; it only goes down


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def examples(page: Path) -> list[Block]:
    """The blocks of a page."""
    return blocks_of(page, is_made=MADE_BY in page.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_example_of_a_page_does_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    with Sitting(page, tmp_path) as sitting:
        for block in examples(page):
            sitting.run(block)


def test_no_block_is_passed_over_but_those_that_say_why() -> None:
    unrun = Counter(
        named(page) for page in PAGES for block in examples(page) if block.kind is Kind.NOT_RUN
    )
    assert dict(unrun) == NOT_RUN
    assert sum(NOT_RUN.values()) <= 7


def test_most_pages_have_examples() -> None:
    assert sum(len(examples(page)) for page in PAGES) > 80
