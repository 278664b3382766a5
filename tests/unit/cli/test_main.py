"""The top of the command: help, versions, errors as words, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightkiln.cli.main import main
from nightkiln.cli.trouble import report

DEADLINE_S = 30


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTKILN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run", "jobs", "simulate", "doctor", "explain"))


def test_help_loads_no_command_and_is_quick() -> None:
    code = (
        "import sys, time; from nightkiln.cli.main import main; main(['--help']);"
        "print(time.process_time(), *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = done.stderr.split()
    assert not set(loaded) & {"pyarrow", "sqlalchemy", "rich", "uvloop", "asyncio", "httptools"}
    assert {name for name in loaded if name.startswith("nightkiln.cli.")} == {
        "nightkiln.cli.main",
        "nightkiln.cli.lazy",
        "nightkiln.cli.setting",
    }
    assert float(seconds) <= 0.3


@pytest.mark.parametrize(
    "verb", ["run", "jobs", "simulate", "doctor", "explain", "jobs list", "jobs show", "jobs watch"]
)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["cancel", "results", "delete"])
def test_every_verb_of_jobs_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", verb, "-h"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_the_bare_command_prints_its_help_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    asked = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr() == (asked, "")


@pytest.mark.parametrize("group", ["jobs", "config", "keys", "cache"])
def test_a_group_without_a_verb_prints_its_help_and_is_an_error(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([group, "--help"]) == 0
    asked = capsys.readouterr().out
    assert main([group]) == 2
    assert capsys.readouterr() == ("", asked)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from nightkiln import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"nightkiln {__version__}"


def test_a_wrong_command_is_a_usage_error_that_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rum"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "error E_USAGE: There is no command 'rum'. Did you mean 'run'?",
        "  fix: nightkiln --help shows the options",
        "  more: nightkiln explain E_USAGE",
    ]


def test_half_a_backend_names_the_other_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path)]
    assert main([*home, "run", "in.txt", "--endpoint", "http://127.0.0.1:1/v1"]) == 2
    assert "error E_USAGE: --endpoint needs --model" in capsys.readouterr().err
    assert main([*home, "run", "in.txt", "--model", "gpt-x"]) == 2
    assert "error E_USAGE: --model gpt-x needs --endpoint URL" in capsys.readouterr().err
    assert main([*home, "run", "in.txt", "--key", "env:X"]) == 2
    assert "--key and --header are for an endpoint" in capsys.readouterr().err


def test_an_error_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "quta", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error == {
        "code": "E_USAGE",
        "message": "there is no code 'quta'",
        "fix": "did you mean quota?",
        "exit_code": 2,
    }


def test_a_bug_is_one_line_and_a_traceback_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bug = RuntimeError("the key sk-abcdefghijkl\nwas here")
    assert report(bug, as_json=False, debug=False) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error E_INTERNAL: RuntimeError: the key sk-… was here\n")
    assert "Traceback" not in shown
    assert "NIGHTKILN_DEBUG=1" in shown
    report(bug, as_json=False, debug=True)
    assert "RuntimeError: the key" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m nightkiln explain | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""


def test_the_home_may_stand_before_or_after_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = str(tmp_path / "named")
    assert main(["--home", named, "doctor"]) == 0
    assert named in capsys.readouterr().out
    assert main(["doctor", "--home", named]) == 0
    assert named in capsys.readouterr().out


def test_reading_verbs_make_no_home(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "list"]) == 0
    assert capsys.readouterr().err == f"no jobs in {own_home}\n"
    assert main(["jobs", "show"]) == 7
    assert main(["jobs", "cancel", "last"]) == 7
    assert main(["jobs", "delete", "last", "--yes"]) == 7
    assert not own_home.exists()
