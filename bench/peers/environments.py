"""One virtual environment for each set of requirements, under `build/peers/`.

An environment is kept as long as its requirements and Python stay the same. One
that cannot be made is a value with pip's last words, so that the comparison
names it instead of leaving it out.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
from bench.peers.roster import Peer
from bench.processes import ROOT

PLACE = ROOT / "build" / "peers"
_DEADLINE_S = 900.0


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that could not be made."""

    reason: str


def environment(peer: Peer, *, place: Path = PLACE) -> Path | Missing:
    """The Python of a peer's environment, made now unless it is there already."""
    folder = place / peer.requirements
    python, stamp = folder / "bin" / "python", folder / ".built-from"
    wanted = _fingerprint(peer.pins)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "install", "--requirement", str(peer.pins)],
    ):
        complaint = _complaint(command)
        if complaint is not None:
            return Missing(reason=complaint)
    stamp.write_text(wanted)
    return python


def _fingerprint(pins: Path) -> str:
    return hashlib.sha256(sys.version.encode() + pins.read_bytes()).hexdigest()


def _complaint(command: list[str]) -> str | None:
    """The last line that a failed command said; None when it worked."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {_DEADLINE_S:.0f} s"
    if not done.returncode:
        return None
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"ended with {done.returncode}"
