"""Commands about this machine, while the jobs are at a server elsewhere."""

from pathlib import Path

import pytest

from nightkiln.cli.main import main

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize("verb", ["show", "clear"])
def test_the_cache_of_a_server_is_its_operators(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTKILN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTKILN_URL", URL)
    monkeypatch.setenv("NIGHTKILN_API_KEY", "nk_any")
    assert main(["cache", verb]) == 2
    said = capsys.readouterr().err
    assert URL in said
    assert "--home" in said
    assert main(["cache", verb, "--home", str(tmp_path / "mine")]) == 0
