"""The home: one folder that holds everything, and the locks that guard it.

    nightkiln.db               the store
    cache.db                   answers paid once; may be deleted at any time
    lock                       exclusive: a server; shared: embedded processes
    spool/                     inputs on their way in
    files/<id>                 files that somebody uploaded, or that a batch wrote
    uploads/<id>/<part>        parts of a file that arrives in parts
    jobs/<id>/run.lock         exclusive: the one process that works on the job
    jobs/<id>/source           the spooled input, where it came through a pipe
    jobs/<id>/input/           segment-00000.parquet …
    jobs/<id>/journal/         <chunk>.<epoch>.log
    jobs/<id>/parts/           <chunk>.<epoch>.parquet
    jobs/<id>/results/g<n>/    part-00000.parquet …, _manifest.json

Locks are flock locks: they die with the process, whatever kills it.
"""

import fcntl
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Final

from nightkiln.core.errors import HomeBusy, UsageError
from nightkiln.core.ids import JobId
from nightkiln.vault.durable import disk_errors, make_dir

_MODE: Final = 0o600
_LOOKS: Final = 5  # at a lock that is refused, before it counts as held
_LOOK_S: Final = 0.03


class Lock:
    """A held flock. Let go by `release`, or by the death of the process.

    A flock belongs to whoever has the descriptor, so to forked children as well:
    they would keep a job from everybody after their parent's death. So each
    child closes what it inherits, which takes nothing from the parent. A fork in
    another thread waits until a lock being taken is one that the child can find.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        _HELD.add(self)

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_HELD: Final[weakref.WeakSet[Lock]] = weakref.WeakSet()
_NO_FORK: Final = threading.Lock()  # held from a descriptor's opening until it is known or closed


def _let_go_of_the_parents() -> None:
    _NO_FORK.release()
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(
    before=_NO_FORK.acquire,
    after_in_parent=_NO_FORK.release,
    after_in_child=_let_go_of_the_parents,
)


def try_lock(path: Path, *, shared: bool = False) -> Lock | None:
    """The lock on a file, or None when somebody else holds it."""
    with disk_errors(f"making the lock {path}"), _NO_FORK:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        if _flocked(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            return Lock(descriptor)
        os.close(descriptor)
    return None


def _flocked(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _patient_lock(path: Path, *, shared: bool) -> Lock | None:
    """The lock, asked for a few times: somebody may only be looking who holds it."""
    for _ in range(_LOOKS):
        if (lock := try_lock(path, shared=shared)) is not None:
            return lock
        time.sleep(_LOOK_S)
    return None


def is_held(path: Path) -> bool:
    """True while somebody holds the lock alone; False where there is none. Writes nothing."""
    with _NO_FORK:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return False  # never made, being deleted, or not ours to look into: opening it says so
        try:
            return not _flocked(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


class JobFiles:
    """The paths of one job."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "run.lock"
        self.source = root / "source"
        self.input = root / "input"
        self.journal = root / "journal"
        self.parts = root / "parts"
        self.results = root / "results"
        self.trial = root / "trial.json"  # what a trial of some rows showed

    def make(self) -> None:
        """Create the folders, durably."""
        for folder in (self.input, self.journal, self.parts, self.results):
            make_dir(folder)

    def segment(self, number: int) -> Path:
        """The input segment of that number."""
        return self.input / f"segment-{number:05d}.parquet"

    def journal_of(self, chunk: int, epoch: int) -> Path:
        """The journal one epoch of a chunk writes."""
        return self.journal / f"{chunk:05d}.{epoch}.log"

    def journals_of(self, chunk: int) -> list[tuple[int, Path]]:
        """All journals of a chunk with their epochs, oldest epoch first."""
        found = [
            (int(path.name.split(".")[1]), path) for path in self.journal.glob(f"{chunk:05d}.*.log")
        ]
        return sorted(found)

    def part(self, chunk: int, epoch: int) -> Path:
        """The part that epoch of a chunk writes."""
        return self.parts / f"{chunk:05d}.{epoch}.parquet"

    def published(self, generation: int) -> Path:
        """The public folder of a generation."""
        return self.results / f"g{generation}"


class Home:
    """A home folder, opened. `hold` takes its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.database = root / "nightkiln.db"
        self.cache = root / "cache.db"
        self.spool = root / "spool"
        self.files = root / "files"
        self.uploads = root / "uploads"
        self._lock: Lock | None = None

    def hold(self, *, exclusive: bool = False) -> None:
        """Create the folder where needed and lock it. Raises HomeBusy, UsageError."""
        try:
            with disk_errors(f"making the home {self.root}"):
                fresh = not self.root.exists()
                make_dir(self.root)
                make_dir(self.spool)
                if fresh:  # a folder that was there before keeps the mode its owner gave it
                    self.root.chmod(0o700)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise UsageError(
                f"the home {self.root} cannot be used: {error.strerror}",
                hint="name another one with --home or NIGHTKILN_HOME",
            ) from error
        self._lock = _patient_lock(self.lock, shared=not exclusive)
        if self._lock is None:
            raise HomeBusy(
                f"the home {self.root} is owned by a running server"
                if not exclusive
                else f"the home {self.root} is in use by another server or by commands in it",
                hint="talk to the server, or name another home with --home"
                if not exclusive
                else "stop them first, or name another home with --home",
            )

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def job(self, job: JobId) -> JobFiles:
        """The paths of a job; creates nothing."""
        return JobFiles(self.root / "jobs" / job)

    def lock_job(self, job: JobId) -> Lock | None:
        """The right to work on a job, or None while another process has it."""
        files = self.job(job)
        if not files.root.exists():
            return None
        return try_lock(files.lock)

    def is_running(self, job: JobId) -> bool:
        """True when some process holds the job's lock."""
        return is_held(self.job(job).lock)
