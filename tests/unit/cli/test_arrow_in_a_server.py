"""Arrow's memory in a server: what keeps it small has to be said before Arrow is there."""

import subprocess
import sys


def test_a_server_says_how_arrow_keeps_memory_before_arrow_is_imported() -> None:
    """An address that is refused ends the command after its imports, with no home opened."""
    command = [sys.executable, "-X", "importtime", "-m", "nightkiln", "serve", "--host", "10.1.2.3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "pyarrow" in imported, "the test looks at nothing"
    assert imported.index("nightkiln.app.arrowmemory") < imported.index("pyarrow.lib")
