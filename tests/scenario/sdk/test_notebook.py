"""The SDK in a real notebook kernel: progress in place, cards, and an interrupt that detaches."""

from collections.abc import Iterator
from typing import Any

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from tests.scenario.place import LONG_MS
from tests.scenario.sdk.desk import Desk

KERNEL_S = 90
_node: Any = NotebookNode  # its constructor has no types


class Notebook:
    """A kernel with a home and a provider. Cells are run one after the other."""

    def __init__(self, place: Desk) -> None:
        self._book = _node(nbformat=4, nbformat_minor=5, metadata={}, cells=[])
        self.client = NotebookClient(self._book, timeout=KERNEL_S, kernel_name="python3")
        self._place = place

    def start(self) -> None:
        self.client.create_kernel_manager()
        self.client.start_new_kernel(cwd=str(self._place.folder), env=self._place.environ)
        self.client.start_new_kernel_client()

    def run(self, source: str) -> Any:
        cell = _node(
            id=f"cell-{len(self._book.cells)}",
            cell_type="code",
            source=source,
            metadata={},
            outputs=[],
            execution_count=None,
        )
        self._book.cells.append(cell)
        return self.client.execute_cell(cell, len(self._book.cells) - 1)


@pytest.fixture
def notebook(place: Desk) -> Iterator[Notebook]:
    book = Notebook(place)
    book.start()
    try:
        book.run("import os, nightkiln as nk\nhow = dict(model='m', endpoint=os.environ['URL'])")
        yield book
    finally:
        book.client._cleanup_kernel()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_shows_progress_in_place_and_jobs_as_cards(
    notebook: Notebook, place: Desk
) -> None:
    place.provider.slow(20)
    submitted = notebook.run(
        "job = nk.infer([str(row) for row in range(100)], concurrency=8,"
        " name='<b>nightly</b>', **how)\nlen(nk.await_job_results(job, timeout=60))"
    )
    kinds = [output["output_type"] for output in submitted["outputs"]]
    assert kinds.count("display_data") == 1  # updated, never repeated
    (shown,) = [one for one in submitted["outputs"] if one["output_type"] == "display_data"]
    assert "100/100 rows" in shown["data"]["text/html"]
    (result,) = [one for one in submitted["outputs"] if one["output_type"] == "execute_result"]
    assert result["data"]["text/plain"] == "100"

    card = notebook.run("nk.job(job)")["outputs"][0]["data"]["text/html"]
    assert "&lt;b&gt;nightly&lt;/b&gt;" in card
    assert "<b>nightly</b>" not in card


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_interrupted_cell_leaves_the_job_running(notebook: Notebook, place: Desk) -> None:
    place.provider.slow(LONG_MS)
    stopped = notebook.run(
        "import threading, _thread\n"
        "job = nk.infer([str(row) for row in range(100)], concurrency=4, **how)\n"
        "threading.Timer(1.0, _thread.interrupt_main).start()\n"
        "try:\n    nk.await_job_results(job)\nexcept KeyboardInterrupt:\n    print('detached')\n"
        "print(nk.get_job_status(job))"
    )
    said = "".join(one.get("text", "") for one in stopped["outputs"])
    assert "detached\nrunning\n" in said
    assert "no longer waiting" in said
    place.provider.slow(0)
    ended = notebook.run("len(nk.await_job_results(job, timeout=60))")
    results = [one for one in ended["outputs"] if one["output_type"] == "execute_result"]
    assert results[0]["data"]["text/plain"] == "100"
