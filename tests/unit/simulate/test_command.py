"""The command as a user runs it: a process that says where it is and stops when told."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from nightkiln.cli.simulate import simulate
from nightkiln.simulate.settings import SETTINGS

DEADLINE_S = 20
SCRIPT = "from nightkiln.cli.simulate import simulate; simulate()"


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", SCRIPT, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly_on_a_signal(number: signal.Signals) -> None:
    with running("--p500", "0.25", "--latency", "const:5") as (process, url):
        config = url.replace("/v1", "/_ctl/config")
        with urllib.request.urlopen(config, timeout=DEADLINE_S) as response:
            shown = msgspec.json.decode(response.read())
        assert (shown["p500"], shown["latency"]) == (0.25, "const:5")
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_it_serves_https_with_a_certificate(tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make.split(), *subject], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with running("--tls", str(tmp_path)) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        models = urllib.request.urlopen(f"{url}/models", context=context, timeout=DEADLINE_S)
        with models as response:
            assert response.status == 200


def test_every_setting_is_an_option() -> None:
    shown = CliRunner().invoke(simulate, ["--help"])
    assert shown.exit_code == 0
    assert all(setting.flag in shown.output for setting in SETTINGS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--latency", "soon"], "latency cannot be 'soon'"),
        (["--p500", "2"], "p500 cannot be 2.0"),
        (["--p500", "often"], "not a valid float"),
        (["--p5", "1"], "No such option"),
    ],
)
def test_a_wrong_option_is_refused_before_it_serves(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_a_folder_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "--port", "0", "--tls", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, complaint = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "cannot read cert.pem and key.pem" in complaint


def test_a_port_in_use_is_refused() -> None:
    with running() as (_, url):
        port = url.rpartition(":")[2].partition("/")[0]
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT, "--port", port],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in process.stderr


def test_the_command_imports_the_simulator_only_when_used() -> None:
    code = (
        "import sys, nightkiln.cli.simulate as face; face.simulate.get_short_help_str();"
        "sys.exit(any(name.startswith('nightkiln.simulate') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S).returncode == 0
