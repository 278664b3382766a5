"""`nightkiln estimate`: what a table will take, before anything is sent."""

import os
from typing import TYPE_CHECKING, Any

import click

from nightkiln.cli.runoptions import MODEL, PACE, PROMPT, TABLES, RunCommand
from nightkiln.cli.setting import home_option, json_option, print_json, run_async, settings

if TYPE_CHECKING:
    from nightkiln.core.forecast import Estimate

_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(cls=RunCommand)
@click.argument("input_name", metavar="INPUT")
@MODEL.options
@PROMPT.options
@PACE.options
@TABLES.options
@click.option(
    "--gpu-hour-usd", type=_POSITIVE, metavar="USD", help="What an hour of your machine costs."
)
@click.option(
    "--tokens-per-s", type=_POSITIVE, metavar="N", help="Assume this speed, in and out together."
)
@json_option
@home_option
def estimate(
    gpu_hour_usd: float | None, tokens_per_s: float | None, as_json: bool, **asked: Any
) -> int:
    """Say how many tokens, dollars and minutes INPUT will take; nothing is sent.

    Takes the options of `run`. Each figure comes with its interval and with what
    it stands on: the model's own tokenizer, earlier jobs of the same model, the
    price table, or else a default that says so. `run --try N` measures instead.
    """
    from nightkiln.cli.forecasttext import estimate_text
    from nightkiln.cli.options import asked_of, flags_of, order_of
    from nightkiln.core.forecast import Assumed
    from nightkiln.sdk.verbs import doing

    options = asked_of(output=None, new=False, **asked)
    chosen = settings(flags_of(options))
    order = order_of(options, chosen, on_terminal=False)
    assumed = Assumed(gpu_hour_usd=gpu_hour_usd, tokens_per_s=tokens_per_s)

    async def work() -> "Estimate":
        async with doing(chosen, os.environ) as app:
            return await app.estimate(order, assumed)

    found = run_async(work())
    if as_json:
        print_json(found)
    else:
        print(estimate_text(found))
    return 0
