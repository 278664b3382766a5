"""Our command line with stopwatches in it: where the CPU time of a run goes.

Reading the input, opening chunks, sealing parts and writing the output each run
as one function in one thread, so the thread's own CPU clock measures them
exactly, whatever else runs. The rest of the process is dispatch, transport and
journal. Said as JSON on standard output; measures the command it is given.
"""

import atexit
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import nightkiln.app.jobrun
import nightkiln.service.results
import nightkiln.service.submit
import nightkiln.worker.opening
import nightkiln.worker.window
from nightkiln.cli.main import main

P = ParamSpec("P")
R = TypeVar("R")
_spent: dict[str, float] = {}


def timed(name: str, work: Callable[P, R]) -> Callable[P, R]:
    """The same function, its thread's CPU time booked under a name."""
    _spent[name] = 0.0

    def timing(*args: P.args, **kwargs: P.kwargs) -> R:
        began = time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            _spent[name] += time.thread_time() - began

    return timing


STEPS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("hash", nightkiln.service.submit, "fingerprint"),
    ("ingest", nightkiln.app.jobrun, "ingest"),
    ("open", nightkiln.worker.opening.Opener, "open"),
    ("seal", nightkiln.worker.window.Window, "_sealed"),
    ("clean", nightkiln.worker.window, "clean"),
    ("export", nightkiln.service.results, "_write_beside"),
)


def install() -> None:
    """Put a stopwatch on every step outside dispatch."""
    for name, owner, attribute in STEPS:
        setattr(owner, attribute, timed(name, getattr(owner, attribute)))


if __name__ == "__main__":
    install()
    atexit.register(lambda: print(json.dumps(_spent)))
    sys.exit(main())
