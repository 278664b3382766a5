"""Every error a user can meet, with what to do next.

    NightkilnError
    ├── UsageError            2  a flag, a column or a file is wrong
    │   ├── InputError        2  the input cannot be taken; names the line
    │   └── ConfigError       2  nightkiln.toml or a variable NIGHTKILN_* is wrong
    ├── JobFailed             4  the job's input did not pass validation
    ├── JobCancelled          4  the job was cancelled, so its answers are not complete
    ├── JobExpired            4  its deadline came before every row had an answer
    ├── JobStopped            9  the job is not over and nobody works on it
    ├── AuthError             5  a credential is missing or refused
    ├── QuotaError            6  no money or quota left at the backend
    ├── NotFound              7  no such job
    ├── UnreachableError      8  a backend or server does not answer, or lacks the model
    ├── WaitTimeout           9  waited long enough; the job is kept
    │   └── JobTimeout        9  a wait of the SDK; the job goes on
    ├── HomeBusy              1  another process owns the home or the job
    ├── DiskError             1  the disk is full or failing
    ├── DamagedError          1  a file of the home is missing or broken
    ├── Fenced                1  a lease that is no longer ours
    ├── IllegalMove           1  a job may not go there
    └── MissingExtra          2  an optional part is not installed

The number is the exit code of the command. `nightkiln explain CODE` prints the
docstring of the class with that code.
"""

from typing import ClassVar


class NightkilnError(Exception):
    """Something went wrong that nightkiln knows how to explain."""

    code: ClassVar[str] = "E_INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint  # what to do about it, one line


class UsageError(NightkilnError):
    """What was asked cannot be done as asked; nothing was started or spent.

    The message names the flag, column or file. Correct it and run again.
    """

    code = "E_USAGE"
    exit_code = 2


class InputError(UsageError):
    """The input table cannot be taken.

    The message names the file, the line (counted from 1) and what is wrong
    with it. Nothing was sent to any backend. Mend the line and run again.
    """

    code = "E_INPUT"

    def __init__(
        self, message: str, *, line: int | None = None, hint: str = "", reason: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.reason = reason  # OpenAI's word for it, of a file of batch lines


class ModelDenied(UsageError):
    """The API key may not ask the model that is named.

    A key may have a list of models (`nightkiln keys create --model NAME`), and the
    model of this request or job is not on it. Name one that is, or use another key.
    """

    code = "E_MODEL"


class ConfigError(UsageError):
    """A setting in nightkiln.toml, or a variable NIGHTKILN_*, cannot be taken.

    The message names the file and the key, or the variable. Nothing was started.
    `nightkiln config path` says which files are read, `nightkiln config show`
    where each value comes from. A secret never belongs in a file of settings:
    write the reference env:NAME, file:PATH or keyring:SERVICE/USER.
    """

    code = "E_CONFIG"


class JobFailed(NightkilnError):
    """The job's input did not pass validation, so no row was ever asked.

    `nightkiln jobs show JOB` prints the reason. Mend the input and run again:
    a failed job is never continued, a new one is made.
    """

    code = "E_JOB_FAILED"
    exit_code = 4


class JobCancelled(NightkilnError):
    """The job was cancelled before every row had an answer.

    The answers it had are kept: `nightkiln jobs results JOB -o FILE`, or
    `nightkiln.get_job_results(job_id)`. Submitting the same rows again goes on
    with those that have none.
    """

    code = "E_CANCELLED"
    exit_code = 4


class JobExpired(NightkilnError):
    """The job's deadline came before every row had an answer.

    The answers it had are kept: `nightkiln jobs results JOB -o FILE`, or
    `nightkiln.get_job_results(job_id)`. Submitting the same rows again goes on
    with those that have none.
    """

    code = "E_EXPIRED"
    exit_code = 4


class JobStopped(NightkilnError):
    """The job is not over and nobody works on it, so waiting for it would never end.

    It was paused, or the process that ran it is gone. Every answer is kept: run
    the same command or submit the same rows again, and it goes on.
    """

    code = "E_STOPPED"
    exit_code = 9


class AuthError(NightkilnError):
    """A backend refuses our credential, or the credential cannot be found.

    Credentials are given by reference: `--key env:NAME`,
    `--key file:PATH` or `--key keyring:SERVICE/USER`.
    Rows are never failed for this: mend the credential and run the same
    command again; answers already there are kept.
    """

    code = "E_AUTH"
    exit_code = 5


class QuotaError(NightkilnError):
    """The backend says that money or quota is used up.

    Asking again would not help, so nothing is asked. Rows are kept. Add
    credits, raise the limit or wait for the reset, then run the same command
    again.
    """

    code = "E_QUOTA"
    exit_code = 6


class NotFound(NightkilnError):
    """There is no such job here.

    `nightkiln jobs list` shows the jobs of this home. Another home is named
    with --home or NIGHTKILN_HOME.
    """

    code = "E_NOT_FOUND"
    exit_code = 7


class UnreachableError(NightkilnError):
    """A backend does not answer, or does not serve the model that was asked for.

    Check the URL (it ends in /v1), that the server runs, and the model's name.
    Rows are kept; run the same command again when it is back.
    """

    code = "E_UNREACHABLE"
    exit_code = 8


class WaitTimeout(NightkilnError):
    """The command waited as long as it was told to; the job itself is kept.

    Without a terminal a command waits --wait seconds (600) for a backend that
    takes no requests, then leaves the job paused. Run the same command again
    to go on.
    """

    code = "E_WAIT"
    exit_code = 9


class JobTimeout(WaitTimeout, TimeoutError):
    """The results were not there in time; the job goes on as if nobody had waited.

    The message names the job. Wait again with its id, for longer, or look at
    how it stands with `nightkiln.get_job_status(job_id)`.
    """

    code = "E_TIMEOUT"


class HomeBusy(NightkilnError):
    """Another process owns the home or this job.

    A server owns its home alone; commands talk to it instead. A job is run by
    one process at a time; a second one can watch it.
    """

    code = "E_BUSY"


class DiskError(NightkilnError):
    """The disk is full or failing, so nothing more can be recorded.

    No row is failed for this. Free space in the home (`nightkiln doctor` shows
    how much there is) and run the same command again.
    """

    code = "E_DISK"

    def __init__(self, message: str, *, hint: str = "", full: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.full = full  # there is no room left; otherwise it fails, or we cannot tell


class DamagedError(NightkilnError):
    """A file of the home is missing or is not what we wrote.

    The message names it. What is lost cannot be guessed: restore the file from
    a backup, or run the job again with --new. Everything else in the home is
    untouched.
    """

    code = "E_DAMAGED"


class Fenced(NightkilnError):
    """A lease is no longer ours: somebody else holds the chunk under a higher epoch.

    Nothing is lost: the newer holder has the chunk and all its answers.
    """

    code = "E_FENCED"


class IllegalMove(NightkilnError):
    """A job was asked to go where its state does not allow.

    The message names the job, where it is and where it was to go. Nothing was
    changed: a job that is over keeps its answers, whoever wanted it otherwise.
    """

    code = "E_STATE"

    def __init__(self, job: str, frm: str, to: str, *, hint: str = "") -> None:
        super().__init__(f"job {job} is {frm} and may not go to {to}", hint=hint)


class MissingExtra(NightkilnError):
    """An optional part of nightkiln is needed and not installed.

    The message prints the install line.
    """

    code = "E_EXTRA"
    exit_code = 2


def catalogue() -> dict[str, type[NightkilnError]]:
    """Every error class by its code."""
    found: dict[str, type[NightkilnError]] = {}
    waiting: list[type[NightkilnError]] = [NightkilnError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return found
