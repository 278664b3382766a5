"""Rows that came over a wire become a file of the spool, or leave nothing there."""

from pathlib import Path

import pytest

from nightkiln.core import crashpoints
from nightkiln.core.job import PromptSpec
from nightkiln.service.arriving import FromRows, arrived
from nightkiln.service.orders import Order
from nightkiln.service.outward import Outward
from nightkiln.tables.parquet_in import flaws_in

from .conftest import Kilnful


def _die() -> None:
    raise ZeroDivisionError


async def test_rows_that_could_not_become_a_source_leave_nothing_in_the_spool(
    kiln: Kilnful,
) -> None:
    order = Order(input="", output=None, prompt=PromptSpec(), model="m", endpoint="http://x/v1")
    rows, outward = FromRows(rows=["one", "two"]), Outward()
    crashpoints.arm("source.spooled", nth=1, action=_die)
    try:
        with pytest.raises(ZeroDivisionError):
            await arrived(kiln.context, rows, order, outward=outward)
    finally:
        crashpoints.disarm()
    assert list(kiln.context.home.spool.iterdir()) == []
    source, _ = await arrived(kiln.context, rows, order, outward=outward)
    assert [str(one) for one in kiln.context.home.spool.iterdir()] == [source.path]


async def test_a_row_without_a_key_that_the_prompt_needs_is_bad(kiln: Kilnful) -> None:
    prompt = PromptSpec(columns=("q",))
    order = Order(input="", output=None, prompt=prompt, model="m", endpoint="http://x/v1")
    rows = FromRows(rows=[{"q": "a", "z": 1}, {"z": 2}])
    source, _ = await arrived(kiln.context, rows, order, outward=Outward())
    flaws = flaws_in(Path(source.path))
    assert list(flaws) == [1]
    assert 'no key "q"' in flaws[1]
