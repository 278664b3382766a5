"""Room on the disk that what arrives from outside leaves alone.

Jobs under way write journals and parts. On a disk that is full to the last byte they
stop, the store with them; so files of other people are refused while there is still
room for the work that was accepted before. What is checked is what is there now:
several who come at once may take a little of the reserve.
"""

import os
from pathlib import Path

from nightkiln.core.errors import DiskError


def check_room(folder: Path, *, reserve: int, coming: int = 0) -> None:
    """Raise DiskError (full) where so many bytes more would leave less than the reserve.

    Blocking. A folder that is not there yet is judged by the one it will be in.
    """
    if reserve <= 0:
        return
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize - coming < reserve:
        raise DiskError(
            f"less than {reserve >> 20:,} MB would be left on the disk",
            hint="free space in the home, or lower disk_reserve_gb",
            full=True,
        )
