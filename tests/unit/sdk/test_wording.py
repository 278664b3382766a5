"""What the layers below say of options and commands, said of arguments and calls."""

import pytest

from nightkiln.core.errors import NotFound
from nightkiln.sdk.wording import in_python


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "nightkiln jobs results job_x --partial gives the rows committed so far",
            'job("job_x").results(partial=True) gives the rows committed so far',
        ),
        (
            "nightkiln jobs retry job_x --run asks its rows without a result again",
            'job("job_x").retry() asks its rows without a result again',
        ),
        ("leave out --schema", "leave out output_schema"),
    ],
)
def test_a_hint_is_something_to_write_in_python(said: str, expected: str) -> None:
    error = NotFound("nothing", hint=said)
    in_python(error)
    in_python(error)  # which changes nothing more
    assert error.hint == expected
