"""Ray Data's HTTP request processor, with as many workers as the concurrency says.

Its `concurrency` counts worker processes, each of which sends one request after
the other, so a driver is called with far fewer than 512. A block that fails is
dropped instead of failing the whole job, and blocks are small.
"""

import ray
import rowfiles
from ray.data.llm import HttpRequestProcessorConfig, build_processor

_BATCH = 20


def payload(row: dict[str, str]) -> dict[str, object]:
    """What to send for a row."""
    return {
        "custom_id": row["custom_id"],
        "payload": {"model": rowfiles.MODEL, "messages": rowfiles.messages(row)},
    }


def answer(row: dict[str, object]) -> dict[str, object]:
    """What came back; a reply that is an error has no choices."""
    choices = row["http_response"].get("choices")
    return {
        "custom_id": row["custom_id"],
        "answer": choices[0]["message"]["content"] if choices else None,
    }


def main() -> None:
    """Ask every row."""
    task = rowfiles.task()
    # `local`: never join a cluster that happens to run on this machine.
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    config = HttpRequestProcessorConfig(
        url=f"{task.url}/chat/completions",
        headers={"Authorization": f"Bearer {rowfiles.KEY}"},
        batch_size=_BATCH,
        concurrency=(task.concurrency, task.concurrency),
        max_retries=rowfiles.RETRIES,
        http_request_stage={"num_cpus": 1 / task.concurrency},
    )
    processor = build_processor(config, preprocess=payload, postprocess=answer)
    rows = ray.data.from_items(task.rows, override_num_blocks=max(1, len(task.rows) // _BATCH))
    answers = {row["custom_id"]: row["answer"] for row in processor(rows).iter_rows()}
    rowfiles.write(task, (answers.get(row["custom_id"]) for row in task.rows))


if __name__ == "__main__":
    main()
