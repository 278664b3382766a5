"""What the checkup finds, tried on real folders."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from nightkiln.cli.main import main
from nightkiln.service.checkup import Finding, checkup
from nightkiln.store.database import Database


def found(home: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in checkup(home)}


def test_a_folder_that_is_not_there_yet_is_fine_and_stays_away(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    findings = found(home)
    assert not [finding for finding in findings.values() if finding.ok is False]
    assert "will be made" in findings["home"].detail
    assert list(tmp_path.iterdir()) == []


def test_the_extra_for_models_here_is_a_warning_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightkiln.service.checkup._LOCAL", ("no_such_package", "msgspec"))
    finding = found(tmp_path)["local models"]
    assert finding.ok is None
    assert "missing: no_such_package" in finding.detail
    assert finding.fix == 'pip install "nightkiln[local]"'


def test_the_file_system_is_tried(tmp_path: Path) -> None:
    findings = found(tmp_path)
    for name in ("fsync", "locks", "hard links", "sqlite"):
        assert findings[name].ok is True, findings[name]
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_fails_with_a_fix(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("x")
    finding = found(home)["home"]
    assert finding.ok is False
    assert "--home" in finding.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_not_be_written_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert found(tmp_path / "home")["home"].ok is False


def test_a_server_that_owns_the_home_is_a_warning(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert found(tmp_path)["owner"].ok is True
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = found(tmp_path)["owner"]
    assert (finding.ok, finding.detail) == (None, "a server owns the home")


async def test_the_schema_of_a_store_is_told(tmp_path: Path) -> None:
    assert "no store yet" in found(tmp_path)["schema"].detail
    store = await Database.open(tmp_path / "nightkiln.db")
    await store.aclose()
    assert found(tmp_path)["schema"].detail.startswith("revision 0")


def test_a_broken_store_fails(tmp_path: Path) -> None:
    (tmp_path / "nightkiln.db").write_bytes(b"not a database, for sure" * 100)
    finding = found(tmp_path)["schema"]
    assert finding.ok is False
    assert "cannot be read" in finding.detail


def test_the_doctor_ends_with_one_when_something_would_stop_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "file"
    home.write_text("x")
    assert main(["doctor", "--home", str(home)]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  home" in shown
    assert "\x1b" not in shown
    assert main(["doctor", "--home", str(tmp_path), "--json"]) == 0
    found_json = json.loads(capsys.readouterr().out)
    assert found_json["ready"] is True
    assert {"status", "name", "ok", "detail", "fix"} == set(found_json["findings"][0])
