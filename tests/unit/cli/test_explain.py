"""Every code has its words."""

import json

import pytest

from nightkiln.cli.main import main
from nightkiln.core.errors import catalogue
from nightkiln.core.explain import FAULTS, codes, fix_for
from nightkiln.core.fault import FaultClass


def test_every_class_of_fault_is_explained() -> None:
    assert set(FAULTS) == set(FaultClass)
    assert all(text.meaning and text.row and text.fix for text in FAULTS.values())


def test_a_fix_is_one_line_and_no_sentence_of_its_own() -> None:
    assert all("\n" not in text.fix and not text.fix.endswith(".") for text in FAULTS.values())


def test_an_unknown_fault_has_no_fix() -> None:
    assert fix_for("mystery") == ""


@pytest.mark.parametrize("code", codes())
def test_every_code_can_be_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 0
    assert capsys.readouterr().out.startswith(f"{code} (")
    assert main(["explain", code, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_an_error_tells_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "E_QUOTA"])
    assert capsys.readouterr().out.splitlines()[0] == "E_QUOTA (exit code 6)"


@pytest.mark.parametrize("code", ["e_quota", "QUOTA", "Throttle", "unreachable"])
def test_case_and_prefix_do_not_matter(code: str) -> None:
    assert main(["explain", code]) == 0


def test_an_unknown_code_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "throtle"]) == 2
    assert "fix: did you mean throttle?" in capsys.readouterr().err


def test_without_a_code_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(codes())
    assert set(catalogue()) <= set(codes())
