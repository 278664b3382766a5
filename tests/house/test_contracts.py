"""That the import contracts cover what exists.

A contract may not name a package that is not there yet, so each one grows with
the code, and these tests say when it has to.
"""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "nightkiln"
PURE = ("core", "plan", "wire")


def contracts() -> dict[str, dict[str, Any]]:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["id"]: contract for contract in tables["tool"]["importlinter"]["contracts"]}


def exists(name: str) -> bool:
    return any((PACKAGE / name).glob("*.py"))


def test_the_pure_layers_are_all_under_contract() -> None:
    pure = {f"nightkiln.{name}" for name in PURE if exists(name)}
    covered = set(contracts()["pure"]["source_modules"])
    assert pure <= covered, f"[tool.importlinter] contract 'pure' must also name {pure - covered}"


def test_the_shipped_fakes_are_under_contract() -> None:
    fakes = contracts().get("fakes", {})
    assert not exists("testing") or fakes.get("protected_modules") == ["nightkiln.testing"], (
        "nightkiln.testing exists: add a contract with id 'fakes' and type 'protected',"
        " whose protected_modules and allowed_importers are both ['nightkiln.testing']"
    )
