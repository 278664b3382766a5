"""An order over a file of batch lines, whose bodies say themselves what is asked of which model.

What was said for this run is either meant for all lines (the model) or refused;
defaults of the settings are for tables and say nothing about bodies.
"""

from typing import Final

import msgspec

from nightkiln.config import Settings
from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.service.batches import check_batch_order
from nightkiln.service.fetching import is_url, path_of
from nightkiln.service.orders import Order
from nightkiln.service.sources import kind_of
from nightkiln.tables.batch_in import BATCH, of_any_model, task_of

_SAMPLING: Final = {"--max-tokens": "max_tokens", "--temperature": "temperature"}


def may_name_its_model(order: Order) -> bool:
    """True for an order whose file may have to be read to know the model. Raises UsageError."""
    if order.staged is not None or order.endpoint is None or order.model is not None:
        return False
    name = path_of(order.input) if is_url(order.input) else order.input
    return kind_of(name, order.input_format) in ("jsonl", BATCH)


def batch_order(source: SourceSpec, order: Order, settings: Settings) -> tuple[SourceSpec, Order]:
    """The order with the model that its batch file names; of a table, as it is.

    A model named for this run answers all lines, whatever they name. Without an
    endpoint the usual choice of a model holds. Raises UsageError.
    """
    if source.batch is None:
        return source, order
    check_batch_order(order)
    for flag, key in _SAMPLING.items():
        if _is_said(key, getattr(order.sampling, key), settings):
            raise UsageError(
                f"{flag} is not for a file of batch lines: their bodies are sent as they are",
                hint=f"leave out {flag}, or read the file as a table with --format jsonl",
            )
    order = msgspec.structs.replace(order, task=task_of(source))
    if _is_said("model", order.model, settings):
        return of_any_model(source), order
    if order.endpoint is None and settings.endpoint is None:
        return source, order
    return source, msgspec.structs.replace(order, model=source.batch.model or order.model)


def _is_said(key: str, value: object, settings: Settings) -> bool:
    """True for a value that somebody gave for this run, and not once for all."""
    if value is None:
        return False
    is_default = value == getattr(settings, key)
    return not is_default or settings.origin(key).source.is_of_the_moment
