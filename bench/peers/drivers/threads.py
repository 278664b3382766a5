"""Threads, each with a `requests.Session` that retries as urllib3's documentation shows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import requests
import rowfiles
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

_STATUSES = (408, 429, 500, 502, 503, 504)
_local = threading.local()


def session() -> requests.Session:
    """This thread's session: one must not be shared between threads."""
    found: requests.Session | None = getattr(_local, "session", None)
    if found is None:
        # `None` allows retries of every method; POST is not among the default ones.
        retry = Retry(
            total=rowfiles.RETRIES,
            backoff_factor=0.5,
            status_forcelist=_STATUSES,
            allowed_methods=None,
        )
        found = _local.session = requests.Session()
        found.mount("http://", HTTPAdapter(max_retries=retry))
    return found


def ask(url: str, row: dict[str, str]) -> str | None:
    """The answer to a row; None when it failed for good."""
    body = {"model": rowfiles.MODEL, "messages": rowfiles.messages(row)}
    try:
        reply = session().post(f"{url}/chat/completions", json=body, timeout=60)
        reply.raise_for_status()
        answer: str = reply.json()["choices"][0]["message"]["content"]
    except (requests.RequestException, LookupError, ValueError):
        return None
    return answer


def main() -> None:
    """Ask every row."""
    task = rowfiles.task()
    with ThreadPoolExecutor(task.concurrency) as pool:
        rowfiles.write(task, pool.map(lambda row: ask(task.url, row), task.rows))


if __name__ == "__main__":
    main()
