"""How many blocks of a cache an engine of ours gets."""

import pytest

from nightkiln import pilot
from nightkiln.backends.engines.gguf_file import read_metadata
from nightkiln.backends.engines.kvcache import blocks


def test_all_sequences_at_their_longest_are_enough() -> None:
    assert blocks(context=1024, side_by_side=64, token_numbers=960, gb=1) == 64 * 32
    assert blocks(context=1000, side_by_side=3, token_numbers=960, gb=1) == 3 * 32


def test_where_that_is_more_than_the_memory_the_memory_decides() -> None:
    smol = 2 * 30 * 3 * 64  # the shape of a model of 135 million parameters
    assert blocks(context=2048, side_by_side=64, token_numbers=smol, gb=1) is None
    assert blocks(context=2048, side_by_side=64, token_numbers=smol, gb=6) == 64 * 64


def test_a_model_of_unknown_shape_gets_all_the_memory() -> None:
    assert blocks(context=1024, side_by_side=64, token_numbers=None, gb=1) is None


def test_the_shape_is_read_from_the_file() -> None:
    pytest.importorskip("gguf")
    found = read_metadata(pilot.path())
    assert found.token_numbers == 5 * 3 * (32 + 32)  # layers, heads kept, keys and values
