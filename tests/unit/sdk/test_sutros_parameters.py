"""Calls have the parameters of Sutro's SDK in its order; ours stand behind, by name."""

import asyncio
import inspect

import pytest

import nightkiln as nk

RESULTS = [
    "job_id",
    "include_inputs",
    "include_cumulative_logprobs",
    "with_original_df",
    "output_column",
    "disable_cache",
    "unpack_json",
    "unwrap_reasoning",
]
COMPLETION = [
    "job_id",
    "timeout",
    "obtain_results",
    "output_column",
    "is_cost_estimate",
    "unwrap_reasoning",
]


@pytest.mark.parametrize("of", [nk, nk.Client, nk.AsyncClient])
@pytest.mark.parametrize(
    ("name", "expected"), [("get_job_results", RESULTS), ("await_job_completion", COMPLETION)]
)
def test_parameters_have_sutros_order(of: object, name: str, expected: list[str]) -> None:
    parameters = [one for one in inspect.signature(getattr(of, name)).parameters if one != "self"]
    assert parameters == expected


def test_what_is_not_done_is_refused() -> None:
    client, awaited = nk.Client(quiet=True), nk.AsyncClient(quiet=True)
    with pytest.raises(nk.UsageError, match="logprobs"):
        client.get_job_results("job_x", include_cumulative_logprobs=True)
    with pytest.raises(nk.UsageError, match="is_cost_estimate"):
        client.await_job_completion("job_x", is_cost_estimate=True)
    with pytest.raises(nk.UsageError, match="logprobs"):
        asyncio.run(awaited.get_job_results("job_x", include_cumulative_logprobs=True))
    with pytest.raises(nk.UsageError, match="is_cost_estimate"):
        asyncio.run(awaited.await_job_completion("job_x", is_cost_estimate=True))
