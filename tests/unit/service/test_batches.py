"""Which outputs of a batch are batch lines, and where its failures go."""

from pathlib import Path

import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.job import BatchHead, JobSpec, PromptSpec, SourceSpec, Task
from nightkiln.service.batches import failures_beside, writes_lines
from nightkiln.service.submit import identity_of


@pytest.mark.parametrize(
    ("output", "explicit", "lines"),
    [
        ("out.jsonl", None, True),
        ("OUT.JSONL", None, True),
        ("out.jsonl.gz", None, True),
        ("-", None, True),
        ("anything", "batch", True),
        ("out.jsonl", "jsonl", False),
        ("-", "csv", False),
        ("out.csv", None, False),
        ("out.parquet", None, False),
        ("folder/", None, False),
    ],
)
def test_a_batch_gets_lines_unless_a_table_is_asked_for(
    output: str, explicit: str | None, lines: bool
) -> None:
    assert writes_lines(output, explicit, source="batch") is lines


def test_a_table_gets_no_lines() -> None:
    assert not writes_lines("out.jsonl", None, source="jsonl")
    with pytest.raises(UsageError, match="--output-format batch"):
        writes_lines("out.jsonl", "batch", source="csv")


@pytest.mark.parametrize(
    ("output", "beside"),
    [
        ("out.jsonl", "out.errors.jsonl"),
        ("a/out.jsonl.zst", "a/out.errors.jsonl.zst"),
        ("out", "out.errors.jsonl"),
    ],
)
def test_failures_lie_beside_the_replies(output: str, beside: str) -> None:
    assert failures_beside(Path(output)) == Path(beside)


def test_jobs_of_different_tasks_are_different_jobs() -> None:
    source = SourceSpec(kind="csv", path="", name="", size_bytes=0, sha256="x")
    keys = {
        identity_of(JobSpec(source=source, prompt=PromptSpec(), model="m", task=task))
        for task in Task
    }
    assert len(keys) == len(Task)


def test_lines_of_any_model_are_another_job_than_lines_held_to_one() -> None:
    def key(batch: BatchHead | None) -> str:
        source = SourceSpec(
            kind="batch", path="", name="", size_bytes=0, sha256="x", batch=batch, id_column="id"
        )
        return identity_of(JobSpec(source=source, prompt=PromptSpec(), model="m"))

    held, free = (BatchHead(url="/v1/embeddings", model=model) for model in ("m", None))
    assert key(held) != key(free)
    assert key(held) == key(None)  # so that what was begun earlier is still the same job
