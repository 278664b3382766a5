"""The functions of the package: those of one client for the home that is current.

The home is looked up at every call (NIGHTKILN_HOME may change in a notebook),
and each has one client for the life of the process.
"""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from nightkiln.app import load_settings
from nightkiln.sdk.client import Client

P = ParamSpec("P")
R = TypeVar("R")

_CLIENTS: Final[dict[Path, Client]] = {}


def default_client() -> Client:
    """The client that the functions of the package use."""
    home = load_settings(os.environ, Path.cwd(), {}).home
    return _CLIENTS.setdefault(home, Client(home=home))


def _of_default(method: Callable[Concatenate[Client, P], R]) -> Callable[P, R]:
    """A client's method as a function, with the same words and parameters."""

    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default_client(), *args, **kwargs)

    functools.update_wrapper(function, method)
    shown = inspect.signature(method)
    parameters = list(shown.parameters.values())[1:]
    function.__signature__ = shown.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


infer = _of_default(Client.infer)
infer_per_model = _of_default(Client.infer_per_model)
job = _of_default(Client.job)
list_jobs = _of_default(Client.list_jobs)
get_job_status = _of_default(Client.get_job_status)
get_job_results = _of_default(Client.get_job_results)
await_job_results = _of_default(Client.await_job_results)
await_job_completion = _of_default(Client.await_job_completion)
cancel_job = _of_default(Client.cancel_job)
attach = _of_default(Client.attach)
