"""The pages that are made from the code are what the code makes, and what they say is true."""

import tomllib
from pathlib import Path

import pytest

from nightkiln.config import file_layer, flag_layer, parse, settings, variable
from nightkiln.config.layers import Source
from tools.generate_docs import EXAMPLE, MADE_BY, PAGES, main, stale


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_not_stale(name: str) -> None:
    assert not stale([name]), f"run: python -m tools.generate_docs {name}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_that_it_is_made_and_is_the_same_every_time(name: str) -> None:
    _, make = PAGES[name]
    page = make()
    assert MADE_BY in page
    assert make() == page


def test_a_stale_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "config.md"
    old.write_text("old")
    monkeypatch.setitem(PAGES, "config", (old, PAGES["config"][1]))
    assert stale(["config"]) == [old]
    assert main(["nothing"]) == 2


def test_every_setting_is_in_the_page_of_settings() -> None:
    page = PAGES["config"][0].read_text(encoding="utf-8")
    missing = [
        key
        for key, field in settings().items()
        if not field.means.for_tests and f"`{variable(key)}`" not in page
    ]
    assert not missing


def test_every_command_is_in_the_page_of_the_command_line() -> None:
    page = PAGES["cli"][0].read_text(encoding="utf-8")
    for command in ("run", "jobs", "jobs list", "config show", "simulate", "doctor", "explain"):
        assert f"`nightkiln {command}`" in page


def test_the_example_in_the_page_of_settings_is_right() -> None:
    layer = file_layer(
        tomllib.loads(EXAMPLE), file="nightkiln.toml", folder=Path("/project"), is_user=False
    )
    flags = flag_layer({}, folder=Path("/project"), source=Source.FLAG)
    found = parse([layer], {"HOME": "/home/ruth"}, flags)
    assert found.models["judge"].params == {"top_p": 0.9}
    assert found.prices["gpt-4.1-mini"].cached == 0.08
    assert EXAMPLE in PAGES["config"][0].read_text(encoding="utf-8")
