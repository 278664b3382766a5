"""Run the tests of official clients with older releases of them: `make check-clients`.

Each release gets an environment of its own below build/clients, with nightkiln as
it is here. Beside these, `make check` runs the same tests with the releases that
pyproject.toml pins. A release that pip does not find, a test that is skipped and a test file
without a test are failures: nothing counts as checked that did not run.
"""

import subprocess
import sys
import venv
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tools.dev_group import group

ROOT: Final = Path(__file__).resolve().parents[1]
PLACE: Final = ROOT / "build" / "clients"
_RUNNERS: Final = ("pytest", "pytest-asyncio", "pytest-timeout")
_TEST_S: Final = 1200


class Release(msgspec.Struct, frozen=True):
    """A release of a client, and the tests that it has to pass."""

    client: str
    version: str  # all of it: what is checked today is checked tomorrow
    tests: str  # a file or a folder

    @property
    def name(self) -> str:
        """A folder's name: the client and its major version."""
        return f"{self.client}-{self.version.partition('.')[0]}"

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.client}=={self.version}"


OPENAI: Final = "tests/client/openai"
ANTHROPIC: Final = "tests/client/test_anthropic_client.py"
RELEASES: Final = (
    Release("openai", "1.109.1", OPENAI),
    Release("openai", "2.54.0", OPENAI),
    Release("anthropic", "0.125.0", ANTHROPIC),
)


def main(argv: Sequence[str]) -> int:
    """Check the releases named, or all; 1 when one of them fails."""
    wanted = [one for one in RELEASES if not argv or one.name in argv]
    unknown = {*argv} - {one.name for one in RELEASES}
    if unknown:
        print(f"no such release: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    said = {one.name: _checked(one) for one in wanted}
    for name, verdict in said.items():
        print(f"{name}: {verdict}")
    return 0 if all(verdict.startswith("passed") for verdict in said.values()) else 1


def _checked(release: Release) -> str:
    """What came of one release, in a few words that begin with `passed` if all is well."""
    folder = PLACE / release.name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    runners = [line for line in group("dev") if line.startswith(_RUNNERS)]
    runners = [line for line in runners if not line.startswith(("pytest-cov", "pytest-xdist"))]
    pip = [str(python), "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install"]
    made = subprocess.run(
        [*pip, *runners, release.requirement, "--editable", ".[server]"], cwd=ROOT, check=False
    )
    if made.returncode:
        return "could not be installed"
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", release.tests, f"--junit-xml={report}"],
        cwd=ROOT,
        timeout=_TEST_S,
        check=False,
    )
    return _verdict(done.returncode, report, _version(python, release.client))


def _verdict(code: int, report: Path, version: str) -> str:
    if not report.exists():
        return f"failed: {version} ran no test"
    suite = ET.parse(report).getroot().find("testsuite")
    counts = {} if suite is None else {name: int(suite.get(name, 0)) for name in _COUNTS}
    if code or not counts.get("tests") or any(counts[name] for name in _COUNTS[1:]):
        return f"failed: {version}, {counts}"
    return f"passed: {version}, {counts['tests']} tests"


_COUNTS: Final = ("tests", "failures", "errors", "skipped")


def _version(python: Path, client: str) -> str:
    code = f"import {client}; print({client}.__version__)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return f"{client} {done.stdout.strip()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
