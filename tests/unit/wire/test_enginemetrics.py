import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.engineload import EngineLoad
from nightkiln.wire.enginemetrics import MOST_BYTES, read_load

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a}b, \\"c"} 12.0
vllm:num_requests_running{engine="1",model_name="m"} 8.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="1",reason="capacity"} 70.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
"""
SGLANG = b"""sglang:num_running_reqs{model_name="q",tp_rank="0",pp_rank="0",priority=""} 5.0
sglang:num_queue_reqs{model_name="q",tp_rank="0",pp_rank="0",priority=""} 2.0
sglang:token_usage{model_name="q",tp_rank="0"} 0.28
"""
LLAMA = b"""# TYPE llamacpp:kv_cache_usage_ratio gauge
llamacpp:kv_cache_usage_ratio 0.5
llamacpp:requests_processing 4
llamacpp:requests_deferred 9
"""


def test_several_engines_of_vllm_are_summed_and_the_fullest_memory_counts() -> None:
    assert read_load(VLLM) == EngineLoad(running=20, waiting=3, kv_used=0.75)


def test_the_older_name_of_vllms_memory_is_known() -> None:
    older = VLLM.replace(b"kv_cache_usage_perc", b"gpu_cache_usage_perc")
    assert read_load(older) == read_load(VLLM)


def test_sglang_and_llama_server_are_read() -> None:
    assert read_load(SGLANG) == EngineLoad(running=5, waiting=2, kv_used=0.28)
    assert read_load(LLAMA) == EngineLoad(running=4, waiting=9, kv_used=0.5)


def test_a_llama_server_that_does_not_tell_of_its_memory_is_read() -> None:
    newer = b"llamacpp:requests_processing 4\nllamacpp:requests_deferred 0"
    assert read_load(newer) == EngineLoad(running=4, waiting=0)
    assert read_load(newer.replace(b"\n", b"\r\n")) == EngineLoad(running=4, waiting=0)


def test_what_sglang_tells_several_times_is_counted_once() -> None:
    page = b"".join(
        b"sglang:num_%b{%b} %d\n" % (name, labels, value)
        for name in (b"running_reqs", b"queue_reqs")
        for labels, value in (
            (b'tp_rank="0",priority=""', 8),
            (b'tp_rank="0",priority="1"', 5),
            (b'tp_rank="0",dp_rank="0",priority=""', 3),
            (b'tp_rank="1",dp_rank="0",priority=""', 3),
            (b'tp_rank="0",dp_rank="1",priority=""', 5),
        )
    )
    assert read_load(page) == EngineLoad(running=8, waiting=8)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>hello</html>",
        b'{"error": "not found"}',
        b"vllm:num_requests_running 3\n",
        b"# vllm:num_requests_running 3\n# vllm:num_requests_waiting 3\n",
        b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 1\n",
        b"vllm:num_requests_running -1\nvllm:num_requests_waiting 1\n",
        b"vllm:num_requests_running 1e999\nvllm:num_requests_waiting 1\n",
        b"vllm:num_requests_running 9e30\nvllm:num_requests_waiting 1\n",
        b"vllm:num_requests_running --\nvllm:num_requests_waiting 1\n",
        b'vllm:num_requests_running{a="b 1\nvllm:num_requests_waiting 1\n',
        VLLM + b" " * MOST_BYTES,
    ],
)
def test_what_is_no_load_is_none(page: bytes) -> None:
    assert read_load(page) is None


def test_a_name_without_end_is_looked_at_only_so_often() -> None:
    assert read_load(b"vllm:num_requests_running{" * 100_000) is None
    assert read_load(b'vllm:num_requests_running{a="' + b"\\" * 1_000_000) is None


PIECES = st.sampled_from(
    [*VLLM.splitlines(True), *SGLANG.splitlines(True), *LLAMA.splitlines(True)]
)
NOISE = st.one_of(
    st.binary(max_size=40),
    PIECES,
    PIECES.map(lambda line: line[: len(line) // 2]),
    st.sampled_from([b'{"', b'="', b"}", b"\\", b"\n", b" 1", b" 1e400", b" ++", b" -0"]),
    st.floats().map(lambda number: b"vllm:num_requests_waiting %b\n" % str(number).encode()),
)


@given(st.lists(NOISE, max_size=30).map(b"".join))
def test_no_text_makes_it_raise_or_tell_nonsense(page: bytes) -> None:
    load = read_load(page)
    assert load is None or (
        load.running >= 0 and load.waiting >= 0 and (load.kv_used is None or 0 <= load.kv_used <= 1)
    )
