"""nightkiln: a table of prompts in, a table of answers out.

    import nightkiln as nk

    job_id = nk.infer(frame, column="text", system_prompt="Which team should answer this?")
    frame = nk.await_job_results(job_id, timeout=3600)

Everything is loaded when it is first used; importing the package costs nothing.
"""

import typing as _typing

from nightkiln._version import __version__

if _typing.TYPE_CHECKING:
    from nightkiln.core.errors import (
        AuthError,
        InputError,
        JobCancelled,
        JobExpired,
        JobFailed,
        JobStopped,
        JobTimeout,
        NightkilnError,
        NotFound,
        QuotaError,
        UnreachableError,
        UsageError,
    )
    from nightkiln.sdk.asyncclient import AsyncClient
    from nightkiln.sdk.client import Client
    from nightkiln.sdk.functions import (
        attach,
        await_job_completion,
        await_job_results,
        cancel_job,
        get_job_results,
        get_job_status,
        infer,
        infer_per_model,
        job,
        list_jobs,
    )
    from nightkiln.sdk.job import AsyncJob, Job
    from nightkiln.sdk.shaping import RowError
    from nightkiln.sdk.showing import JobInfo, Progress

_ERRORS = "nightkiln.core.errors"
_FUNCTIONS = "nightkiln.sdk.functions"
_PLACES = {
    "AsyncClient": "nightkiln.sdk.asyncclient",
    "AsyncJob": "nightkiln.sdk.job",
    "AuthError": _ERRORS,
    "Client": "nightkiln.sdk.client",
    "InputError": _ERRORS,
    "Job": "nightkiln.sdk.job",
    "JobCancelled": _ERRORS,
    "JobExpired": _ERRORS,
    "JobFailed": _ERRORS,
    "JobInfo": "nightkiln.sdk.showing",
    "JobStopped": _ERRORS,
    "JobTimeout": _ERRORS,
    "NightkilnError": _ERRORS,
    "NotFound": _ERRORS,
    "Progress": "nightkiln.sdk.showing",
    "QuotaError": _ERRORS,
    "RowError": "nightkiln.sdk.shaping",
    "UnreachableError": _ERRORS,
    "UsageError": _ERRORS,
    "attach": _FUNCTIONS,
    "await_job_completion": _FUNCTIONS,
    "await_job_results": _FUNCTIONS,
    "cancel_job": _FUNCTIONS,
    "get_job_results": _FUNCTIONS,
    "get_job_status": _FUNCTIONS,
    "infer": _FUNCTIONS,
    "infer_per_model": _FUNCTIONS,
    "job": _FUNCTIONS,
    "list_jobs": _FUNCTIONS,
}

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AuthError",
    "Client",
    "InputError",
    "Job",
    "JobCancelled",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobStopped",
    "JobTimeout",
    "NightkilnError",
    "NotFound",
    "Progress",
    "QuotaError",
    "RowError",
    "UnreachableError",
    "UsageError",
    "__version__",
    "attach",
    "await_job_completion",
    "await_job_results",
    "cancel_job",
    "get_job_results",
    "get_job_status",
    "infer",
    "infer_per_model",
    "job",
    "list_jobs",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(_PLACES[name]), name)
    except RuntimeError as error:  # no pool of threads can be imported when the process ends
        import threading

        if threading.main_thread().is_alive():
            raise
        from nightkiln.sdk.ending import ending

        raise ending() from error


def __dir__() -> list[str]:
    return sorted(__all__)
