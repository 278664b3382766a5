"""What a whole body says about the length of its answer, and bodies that say nothing of use."""

import pytest

from nightkiln.wire.outputlimit import limit_of


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b'{"messages": [], "max_tokens": 7}', 7),
        (b'{"max_completion_tokens": 8, "messages": []}', 8),
        (b'{"input": "x", "max_output_tokens": 9}', 9),
        (b'{"max_tokens": 0}', 0),
        (b'{"max_tokens": null, "max_completion_tokens": 3}', 3),
        (b"{}", None),
        (b'{"max_tokens": "many"}', None),
        (b'{"max_tokens": -1}', None),
        (b'{"max_tokens": 1.5}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_limit_is_found_under_each_of_its_names_and_nothing_else_is_one(
    body: bytes, limit: int | None
) -> None:
    assert limit_of(body) == limit
