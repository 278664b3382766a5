"""Keeps Arrow's memory small; imported before pyarrow, so the first thing `app` does.

Arrow's own allocator keeps the pages of every part it ever wrote: a third more
memory at a million rows. The C library's gives them back, with few arenas for
the threads that seal parts. Both can only be said before Arrow begins.
"""

import ctypes
import os
import sys
from typing import Final

_ARENAS: Final = 2
_M_ARENA_MAX: Final = -8  # of mallopt, as malloc.h of the GNU C library has it

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
if sys.platform == "linux":
    _mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, _ARENAS)
