"""That the official clients we are checked with are named to the last digit.

A range would let a release of tomorrow decide what was checked today.
"""

import re
from pathlib import Path

from tools.check_clients import RELEASES
from tools.dev_group import group

ROOT = Path(__file__).resolve().parents[2]
EXACT = re.compile(r"(openai|anthropic)==(\d+)(\.\d+)+")


def test_every_client_is_pinned_and_no_major_release_is_checked_twice() -> None:
    newest = [line for line in group("dev") if line.startswith(("openai", "anthropic"))]
    majors = []
    for requirement in [*newest, *(release.requirement for release in RELEASES)]:
        found = EXACT.fullmatch(requirement)
        assert found, f"{requirement} is not one release"
        majors.append((found[1], found[2]))
    wanted = [("anthropic", "0"), ("anthropic", "2"), *(("openai", one) for one in "123")]
    assert sorted(majors) == wanted


def test_the_tests_of_every_release_are_there_and_the_verb_is_named() -> None:
    assert all((ROOT / release.tests).exists() for release in RELEASES)
    assert "make check-clients" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
