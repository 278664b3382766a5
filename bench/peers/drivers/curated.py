"""bespokelabs-curator's `LLM` with its cache, which is what a second run after a kill goes on from.

The cache lies beside the output. Limits by the minute are set out of the way,
as the stub has none. Curator counts tokens with a vocabulary that it fetches
from the network; LiteLLM, which it needs anyway, ships the same file.
"""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("CURATOR_DISABLE_RICH_DISPLAY", "1")
os.environ.setdefault("TELEMETRY_ENABLED", "false")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

_LITELLM = str(importlib.util.find_spec("litellm").origin)
_VOCABULARY = Path(_LITELLM).parent / "litellm_core_utils" / "tokenizers"
os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(_VOCABULARY))

import rowfiles  # noqa: E402 - curator reads the environment when it is imported
from bespokelabs import curator  # noqa: E402

_NO_LIMIT = 1_000_000_000


class Asker(curator.LLM):
    """Sends a row's text and keeps its id beside the answer."""

    def prompt(self, row: dict[str, str]) -> str:
        """The row's text."""
        return row["text"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        """The row of the result."""
        return {"custom_id": row["custom_id"], "answer": response}


def main() -> None:
    """Ask every row that the cache has no answer to."""
    task = rowfiles.task()
    asker = Asker(
        model_name=rowfiles.MODEL,
        backend="openai",
        backend_params={
            "base_url": task.url,
            "api_key": rowfiles.KEY,
            "max_retries": rowfiles.RETRIES,
            "max_concurrent_requests": task.concurrency,
            "max_requests_per_minute": _NO_LIMIT,
            "max_tokens_per_minute": _NO_LIMIT,
            "require_all_responses": False,
        },
    )
    found = asker(task.rows, working_dir=str(task.output.parent / "curator"))
    answers = {row["custom_id"]: row["answer"] for row in found.dataset}
    rowfiles.write(task, (answers.get(row["custom_id"]) for row in task.rows))


if __name__ == "__main__":
    main()
