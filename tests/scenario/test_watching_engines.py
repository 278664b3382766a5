"""An engine that tells how busy it is, filled by the real command over a real socket."""

import statistics
import time
import urllib.error
import urllib.request

import pytest
from tests.scenario.place import DEADLINE_S, Place, Provider, until

CAPACITY = 40
ROWS = 3_000


def page(provider: Provider) -> str:
    url = provider.url.replace("/v1", "/metrics")
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        return str(response.read().decode())


def test_the_page_is_vllms_and_can_be_switched_off(provider: Provider) -> None:
    text = page(provider)
    assert 'vllm:num_requests_running{engine="0",model_name="simulated"} 0' in text
    assert "vllm:num_requests_waiting{" in text
    assert "vllm:kv_cache_usage_perc{" in text
    provider.configure(metrics=0)
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        page(provider)
    caught.value.close()


def test_the_queue_of_an_engine_that_tells_is_kept_short(place: Place, provider: Provider) -> None:
    provider.configure(latency="const:200", capacity=CAPACITY)  # slow, so that we never are
    place.table(ROWS)
    running = place.start(*place.args())
    until(lambda: provider.stats()["ok"] >= ROWS / 2)
    waiting, busy = [], []
    while (stats := provider.stats())["ok"] < 0.95 * ROWS:
        waiting.append(stats["queued"])
        busy.append(stats["inflight"])
        time.sleep(0.05)  # between two looks
    assert running.wait(DEADLINE_S) == 0
    assert statistics.median(busy) == CAPACITY
    assert 0 < statistics.median(waiting) <= CAPACITY / 2
    assert provider.stats()["ok"] == ROWS


def test_metrics_that_vanish_change_nothing_for_the_rows(place: Place, provider: Provider) -> None:
    provider.configure(latency="const:50", capacity=CAPACITY)
    place.table(ROWS)
    running = place.start(*place.args())
    until(lambda: provider.stats()["ok"] >= ROWS / 4)
    provider.configure(metrics=0)
    assert running.wait(DEADLINE_S) == 0
    assert provider.stats()["requests"] == ROWS
    assert len(place.answers()) == ROWS
