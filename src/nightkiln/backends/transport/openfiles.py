"""How many sockets this process may have: its soft limit of open files, raised once.

A soft limit of 256 or 1024 is common, and is there for programs that use
select(); none of ours does. Never lowers a limit, and touches no hard one.
"""

import resource
from typing import Final

FILES_BESIDE_SOCKETS: Final = 192  # journals, segments, the store, the interpreter
MOST_FILES: Final = 65_536


def most_files() -> int:
    """Open files that `room_for_sockets` may raise the limit to; nothing is changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in (soft, hard):
        return MOST_FILES
    return max(soft, min(hard, MOST_FILES))


def room_for_sockets() -> int:
    """Sockets that may be open at once, after raising the soft limit as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_FILES - FILES_BESIDE_SOCKETS
    goal = most_files()
    if soft < goal:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
        except (ValueError, OSError):  # macOS has a limit of its own below an infinite hard one
            goal = soft
    return max(0, goal - FILES_BESIDE_SOCKETS)
