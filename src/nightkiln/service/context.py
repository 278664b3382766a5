"""What every use case stands on; made once, by the composition root."""

import secrets
import time
from collections.abc import Callable

from nightkiln.core.ids import DEFAULT_PROJECT, JobId, ProjectId, RunId, new_job_id, new_run_id
from nightkiln.store.base import ControlPlane
from nightkiln.vault.home import Home, JobFiles

_ENTROPY_BYTES = 8


class Context:
    """The store, the home, the time and the project a caller acts for."""

    def __init__(
        self,
        store: ControlPlane,
        home: Home,
        *,
        project: ProjectId = DEFAULT_PROJECT,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        reserve_bytes: int = 0,
    ) -> None:
        self.store = store
        self.home = home
        self.project = project
        self.clock = clock
        self.entropy = entropy
        self.reserve_bytes = reserve_bytes  # of the disk, that what arrives leaves alone

    def of(self, project: ProjectId) -> "Context":
        """The same for another project."""
        return Context(
            self.store,
            self.home,
            project=project,
            clock=self.clock,
            entropy=self.entropy,
            reserve_bytes=self.reserve_bytes,
        )

    def files(self, job: JobId) -> JobFiles:
        """The paths of a job."""
        return self.home.job(job)

    def new_job_id(self) -> JobId:
        """A fresh name for a job."""
        return new_job_id(now=self.clock(), entropy=self.entropy(_ENTROPY_BYTES))

    def new_run_id(self) -> RunId:
        """A fresh name for a run."""
        return new_run_id(now=self.clock(), entropy=self.entropy(_ENTROPY_BYTES))
