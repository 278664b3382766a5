"""Machines that die where a test says; imported by an engine's process, which gets our path.

What the test says travels in `Load.properties`, under names that no engine knows.
"""

import os
import signal
from pathlib import Path

import msgspec

from nightkiln.backends.engines.messages import Ask, Load
from nightkiln.backends.engines.openvino_machine import OpenVINOMachine


def taken(load: Load, name: str) -> tuple[Load, str]:
    """A property of ours, and the load without it."""
    left = dict(load.properties)
    said = str(left.pop(name, ""))
    return msgspec.structs.replace(load, properties=left), said


class Dying(OpenVINOMachine):
    """A real machine that dies in the step after it took a prompt with these bytes in it."""

    def __init__(self, load: Load) -> None:
        load, mark = taken(load, "DIE_OF")
        load, how = taken(load, "DIE_BY")
        load, once = taken(load, "DIE_WHILE")  # a file that exists
        self._mark, self._how, self._once = bytes.fromhex(mark), how, once
        self._is_marked = False
        super().__init__(load)

    def begin(self, ask: Ask) -> None:
        super().begin(ask)
        self._is_marked |= self._mark in ask.ids

    def step(self) -> None:
        super().step()
        if self._is_marked and (not self._once or Path(self._once).exists()):
            if self._once:
                Path(self._once).unlink()
            if self._how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("no memory for this")


class Unloadable(OpenVINOMachine):
    """A real machine that cannot be loaded while a file exists."""

    def __init__(self, load: Load) -> None:
        load, broken = taken(load, "DIE_WHILE")
        if Path(broken).exists():
            raise MemoryError("no memory for weights")
        super().__init__(load)
