"""Without its extra the server says how to install it; with wrong options, what is wrong."""

import sys
from pathlib import Path

import pytest

from nightkiln.cli.main import main


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTKILN_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_a_missing_part_names_the_install_line(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["serve"]) == 2
    assert 'pip install "nightkiln[server]"' in capsys.readouterr().err


def test_half_a_certificate_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cert.pem").touch()
    assert main(["serve", "--tls-cert", str(tmp_path / "cert.pem")]) == 2
    assert "--tls-key" in capsys.readouterr().err


@pytest.mark.parametrize("window", ["soon", "", "0h", "24"])
def test_a_window_that_is_no_span_is_refused(
    window: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--window", window]) == 2
    assert "--window" in capsys.readouterr().err
