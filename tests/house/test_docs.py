"""The promises of the documents: links that lead somewhere, dependencies with a reason."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s#]+)(?:#[^)]*)?\)")
REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")
GLOSSARY = """
job row request answer fault attempt generation chunk lease epoch journal part commit manifest
backend engine endpoint provider_batch fleet slot worker project key credential ledger realtime
route plan
"""


def base_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    matches = (REQUIREMENT_NAME.match(requirement) for requirement in project["dependencies"])
    return [match.group() for match in matches if match]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    broken = [target for target in targets if not (document.parent / target).exists()]
    assert not broken, f"{document.name} sends its reader to files that do not exist: {broken}"


@pytest.mark.parametrize("name", base_dependencies())
def test_the_changelog_gives_a_reason_for_every_base_dependency(name: str) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entry = re.search(rf"^- `{re.escape(name)}`:\s+(\S.*?\.)$", changelog, re.MULTILINE | re.DOTALL)
    assert entry, f"everybody who installs us installs {name}: CHANGELOG.md must say why"
    assert len(entry.group(1).split()) >= 5, f"{name}: a reason is a sentence"


@pytest.mark.parametrize("word", [word.replace("_", " ") for word in GLOSSARY.split()])
def test_the_glossary_defines_every_word_of_the_house(word: str) -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert f"**{word}**" in glossary, f"one word per idea: docs/glossary.md must define {word}"


def test_the_two_commands_of_the_readme_are_verbs_of_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)", readme))
    assert {"demo", "check"} <= named
    missing = {verb for verb in named if not re.search(rf"^{verb}:", makefile, re.MULTILINE)}
    assert not missing, f"README.md names verbs that the Makefile does not have: {missing}"
