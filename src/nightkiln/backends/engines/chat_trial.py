"""A chat template tried once under limits of time and memory, in an engine's own process.

Native code hears no exception: the power of two large integers, or a text a
thousand million characters wide, goes on until it has all the time or memory
there is. So a template is tried where that ends a process of which nobody has
asked anything yet. The first clock raises an exception; where nothing hears it, the
second has the kernel end the process, and `process.py` knows why.

Both clocks count CPU time, since a template cannot wait for anything.
"""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nightkiln.backends.engines.chat_template import ChatTemplate
from nightkiln.core.errors import UsageError

TRIAL_S: Final = 3.0
DEADLY: Final = signal.SIGVTALRM  # what ends a process that hears nothing
TOO_LONG: Final = "the model's chat template takes too much time"
_DEADLY_TIMES: Final = 2.0
_MEMORY_BYTES: Final = 512 << 20  # more than the process has


class _TooLong(BaseException):
    """The time is over. No handler of Jinja's catches it."""


def try_template(source: str) -> None:
    """Compile and render a template. Raises UsageError for one that cannot be used."""
    try:
        with _clocks(), _memory():
            ChatTemplate(source).try_out()
    except _TooLong:
        raise UsageError(TOO_LONG) from None


@contextlib.contextmanager
def _clocks() -> Iterator[None]:
    before = {
        signal.SIGPROF: signal.signal(signal.SIGPROF, _over),
        DEADLY: signal.signal(DEADLY, signal.SIG_DFL),
    }
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, _DEADLY_TIMES * TRIAL_S)
        signal.setitimer(signal.ITIMER_PROF, TRIAL_S)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _memory() -> Iterator[None]:
    """A bound on what is taken from now on, where the system has one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * os.sysconf("SC_PAGE_SIZE") + _MEMORY_BYTES
        if soft == resource.RLIM_INFINITY or bound < soft:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _over(*_: Any) -> None:
    raise _TooLong
