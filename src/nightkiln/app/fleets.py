"""Several backends for one job: which endpoints and keys an order means, each of them one target.

An endpoint with several keys is as many backends: a provider limits each key by
itself. Endpoints share one job's rows, so they have to mean the same model; what
each of them calls it is its own affair. A key goes to the endpoint it was named
for and to no other. Pure but for the errors.
"""

from collections.abc import Sequence

import msgspec

from nightkiln.app.targets import Target, target_of
from nightkiln.config import Settings
from nightkiln.core.errors import UsageError
from nightkiln.service.orders import Order


def targets_of(order: Order, settings: Settings) -> tuple[Target, ...]:
    """The backends of an order, at least one. Raises UsageError for names that do not fit."""
    if order.more_endpoints:
        targets = [target_of(one, settings) for one in _orders_by_endpoint(order)]
    else:
        first = target_of(order, settings)
        targets = [first, *_of_alias(order, settings, first)]
    if not order.more_endpoints and order.more_keys:
        if len(targets) > 1:
            raise _unpaired(len(targets))
        targets = _pooled(targets[0], _keys(order))
    else:
        targets = [one for target in targets for one in _with_own_keys(target, order, settings)]
    _check(targets)
    return tuple(targets)


def label_of(target: Target, among: Sequence[Target]) -> str:
    """What tells backends at one address apart: the reference of the key; else empty."""
    here = [one for one in among if one.order.endpoint == target.order.endpoint]
    return "" if len(here) < 2 else target.order.key or "no key"


def _orders_by_endpoint(order: Order) -> list[Order]:
    """One order an endpoint, each with the key that was named for it."""
    places, keys = (order.endpoint, *order.more_endpoints), _keys(order)
    if keys and len(keys) != len(places):
        raise _unpaired(len(places))
    return [
        msgspec.structs.replace(
            order,
            endpoint=place,
            more_endpoints=(),
            key=keys[number] if keys else None,
            more_keys=(),
        )
        for number, place in enumerate(places)
    ]


def _of_alias(order: Order, settings: Settings, first: Target) -> list[Target]:
    """The other endpoints of an alias that has several, unless one of them was named."""
    alias = settings.models.get(order.model or "")
    if alias is None or first.endpoint not in alias.endpoints[:1]:
        return []
    if order.endpoint is not None and order.endpoint in alias.endpoints:
        return []
    if order.key is not None:
        raise _unpaired(len(alias.endpoints))
    return [target_of(order, settings, at=place) for place in alias.endpoints[1:]]


def _with_own_keys(target: Target, order: Order, settings: Settings) -> list[Target]:
    """The target once for every key that the settings have for it."""
    said = order.key is not None or target.order.key is not None
    if said or target.endpoint is None or not settings.endpoints[target.endpoint].keys:
        return [target]
    return _pooled(target, settings.endpoints[target.endpoint].keys)


def _pooled(target: Target, keys: Sequence[str]) -> list[Target]:
    return [
        msgspec.structs.replace(
            target, order=msgspec.structs.replace(target.order, key=key, more_keys=())
        )
        for key in keys
    ]


def _keys(order: Order) -> tuple[str, ...]:
    return order.more_keys if order.key is None else (order.key, *order.more_keys)


def _unpaired(endpoints: int) -> UsageError:
    return UsageError(
        f"--key has to be given once for each of the {endpoints} endpoints, in their order",
        hint="or name the endpoints in nightkiln.toml, each with its key",
    )


def _check(targets: Sequence[Target]) -> None:
    if len(targets) < 2:
        return
    seen: set[tuple[str | None, str | None]] = set()
    for target in targets:
        order = target.order
        if order.endpoint is None:
            raise UsageError(
                "only endpoints share the rows of a job", hint="name endpoints, or one model file"
            )
        if (order.endpoint, order.key) in seen:
            raise UsageError(f"--endpoint {order.endpoint} is named twice with the same key")
        seen.add((order.endpoint, order.key))
    models = list(dict.fromkeys(target.order.model or "" for target in targets))
    if len(models) > 1:
        raise UsageError(
            f"the endpoints of one job have to answer for one model, not {' and '.join(models)}",
            hint="name it with --model; `names` in [endpoints.NAME] says what each calls it",
        )
