"""A place in which people write Python instead of commands."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.scenario.place import DEADLINE_S, Place, Provider

PREAMBLE = """
import os, time
import nightkiln as nk
how = {"model": "m", "endpoint": os.environ["URL"]}
rows = [f"row {number}" for number in range(200)]

def wait_for_some(job):
    while nk.job(job).progress().answered < 8:
        time.sleep(0.01)
"""


class Desk(Place):
    """Runs scripts in a home; `how` is what they and the test's own client ask."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider.url)
        self.provider = provider
        self.how: Any = {"model": "m", "endpoint": provider.url}
        self.environ |= {"URL": provider.url, "PYTHONUNBUFFERED": "1"}

    def start_script(self, script: str) -> subprocess.Popen[str]:
        """A script, on its way."""
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(PREAMBLE) + textwrap.dedent(script))
        return self.start_command(sys.executable, str(path))

    def script(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script, to its end."""
        process = self.start_script(script)
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)
