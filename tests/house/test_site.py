"""The site is built strictly, and needs no network when it is read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCHED = re.compile(r"(?:<script[^>]* src|<img[^>]* src|<link[^>]* href)=\"(?:https?:)?//[^\"]*")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the site is made from."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def test_the_site_is_built_and_reading_it_fetches_nothing(tmp_path: Path) -> None:
    built = build(ROOT, tmp_path / "site")
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    assert not [url for page in pages for url in FETCHED.findall(page.read_text("utf-8"))]
    styles = (tmp_path / "site").rglob("*.css")
    assert not [
        style
        for style in styles
        if re.search(r"url\(['\"]?(?:https?:)?//|@import", style.read_text("utf-8"))
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index.md", "# A\n\n[gone](gone.md)\n"),
        ("index.md", "# A\n\n[no such place](tutorial.md#nowhere)\n"),
        ("index.md", "# A\n\n[outside](../README.md)\n"),
        ("orphan.md", "# Nobody leads here\n"),
    ],
)
def test_a_broken_link_or_a_page_without_a_place_ends_the_build(
    sources: Path, name: str, text: str
) -> None:
    (sources / "docs" / name).write_text(text)
    assert build(sources, sources / "site").returncode != 0
