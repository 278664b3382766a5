"""What the names in an order mean: endpoints, models and prices of nightkiln.toml.

A name said for this run outweighs one from a file. Where the two do not fit
together the weaker is left out, and where they weigh the same it is an error:
nothing is sent to a server that was not named. Pure but for the errors.
"""

from typing import Final, TypeVar

import msgspec

from nightkiln.app.choice import PILOT, is_model_file
from nightkiln.backends.prices import OwnPrice, PriceList, with_overrides
from nightkiln.config import ModelAlias, ModelPrice, Origin, Settings, Source, dotted, reference_of
from nightkiln.config.layers import nearest
from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.core.reuse import CacheUse, Dedupe
from nightkiln.service.orders import Order

N = TypeVar("N", int, float)

_SAID: Final = Origin(source=Source.FLAG, words="", rank=3)  # by whoever made the order


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An order with URLs and models in place of names, and why it is these."""

    order: Order
    why: str = ""  # empty: `choose` says it
    secret_headers: tuple[tuple[str, str], ...] = ()  # a header and the reference to its value
    endpoint: str | None = None  # the configured one that is used
    model_there: str | None = None  # what it calls the model, where that is not as we do
    metrics: bool | None = None  # its engine is asked how busy it is; None: where it is ours
    prices: PriceList


def target_of(order: Order, settings: Settings, *, at: str | None = None) -> Target:
    """What an order means under these settings. Raises UsageError for names that do not fit.

    `at` is the endpoint meant, of an alias that has several; see `nightkiln.app.fleets`.
    """
    return _Naming(order, settings, at).target()


def order_under(order: Order, settings: Settings) -> Order:
    """An order with what its maker left open as the settings say it.

    Left open is what stands as an order has it that says nothing. A face whose
    arguments were part of the settings already needs no more than `target_of`.
    """
    said_nothing = Order(input="", output=None, prompt=order.prompt, model=None)
    by_settings = {
        "endpoint": settings.endpoint,
        "model": settings.model,
        "concurrency": settings.concurrency,
        "timeout_s": settings.timeout,
        "wait_s": said_nothing.wait_s if settings.wait is None else settings.wait,
        "on_bad_row": settings.on_bad_row,
        "dedupe": Dedupe(settings.dedupe),
        "cache": CacheUse(settings.cache),
        "kv_cache_gb": settings.engine.kv_cache_gb,
        "precision": settings.engine.precision,
    }
    left_open = {
        name: value
        for name, value in by_settings.items()
        if getattr(order, name) == getattr(said_nothing, name)
    }
    return msgspec.structs.replace(order, **left_open)


def name_asked(said: str | None, answers: str, settings: Settings) -> str:
    """The name by which the model that answers was asked: an alias, or its own.

    What an order says and its endpoint outweighs is not what was asked.
    """
    alias = settings.models.get(said or "")
    if said is None or alias is None:
        return answers
    return said if answers in (said, alias.model or alias.file) else answers


def prices_for(
    settings: Settings, endpoint: str | None, *, of: tuple[str, str] | None = None
) -> PriceList:
    """The prices that hold at a configured endpoint, or anywhere else.

    Where a model is asked `of` an alias, with the model's own name beside it, a price of
    the alias is the model's: whoever gave it two names may want to pay by either.
    """
    own = _own_prices(settings.prices, "prices", settings)
    if endpoint is not None:
        place = dotted("endpoints", endpoint)
        own |= _own_prices(settings.endpoints[endpoint].prices, f"{place}.prices", settings)
    if of is not None and of[0] in own:
        own[of[1]] = own[of[0]]
    return with_overrides(own)


def _own_prices(
    prices: dict[str, ModelPrice], under: str, settings: Settings
) -> dict[str, OwnPrice]:
    made = {}
    for name, price in prices.items():
        key = dotted(under, name)
        made[name] = OwnPrice(
            input_usd=price.input,
            output_usd=price.output,
            cached_usd=price.cached,
            source=f"{key} in {_file_of(settings, under, key)}",
        )
    return made


def _file_of(settings: Settings, under: str, key: str) -> str:
    whole = key if under == "prices" else under.removesuffix(".prices")
    return settings.origin(whole).file or "the settings"


class _Naming:
    """One order being read: what was said of endpoint and model, and by whom."""

    def __init__(self, order: Order, settings: Settings, at: str | None) -> None:
        self._order = order
        self._alias_at = at
        self._settings = settings
        self._endpoint, self._endpoint_from = self._said("endpoint", order.endpoint)
        self._model, self._model_from = self._said("model", order.model)

    def _said(self, key: str, by_order: str | None) -> tuple[str | None, Origin]:
        """A name of the order and who said it: the settings, or whoever made it otherwise.

        A name that the order does not have is never taken from the settings here: a
        job that goes on must not end up at a server that was configured since.
        """
        known: str | None = getattr(self._settings, key)
        return by_order, self._settings.origin(key) if by_order == known else _SAID

    def target(self) -> Target:
        """What it comes to. Raises UsageError."""
        self._leave_out_what_does_not_fit()
        endpoint, model = self._endpoint, self._model
        if model is not None and model in self._settings.models:
            return self._aliased(model, self._settings.models[model])
        if endpoint is not None and "://" not in endpoint:
            return self._named(endpoint)
        if endpoint is None and model is not None and not is_model_file(model):
            return self._listed(model)
        why = ""
        if endpoint is not None:
            why = _by(self._endpoint_from)
        elif model is not None:
            why = f"{'the pilot' if model == PILOT else 'a model file'}, {_by(self._model_from)}"
        return self._here(model, why) if endpoint is None else self._plain(endpoint, model, why)

    def _leave_out_what_does_not_fit(self) -> None:
        endpoint, model = self._endpoint, self._model
        if endpoint is None or model is None or self._fits(endpoint, model):
            return
        if self._model_from.rank > self._endpoint_from.rank:
            self._endpoint = None
        elif self._endpoint_from.rank > self._model_from.rank:
            self._model = None
        elif model in self._settings.models:
            raise UsageError(
                f"--model {model} is {dotted('models', model)} of the settings, and that is not"
                f" at --endpoint {endpoint}",
                hint="name one of them only",
            )

    def _fits(self, endpoint: str, model: str) -> bool:
        """True where a model may be meant to be at an endpoint."""
        if (alias := self._settings.models.get(model)) is not None:
            return endpoint in alias.places
        found = self._settings.endpoints.get(endpoint)
        if found is not None and model in found.models:
            return True
        if is_model_file(model):
            return False
        if self._endpoint_from.rank > self._model_from.rank:
            return found is None or not found.models
        return not self._listing(model)

    def _listing(self, model: str) -> list[str]:
        return [name for name, one in self._settings.endpoints.items() if model in one.models]

    def _aliased(self, name: str, alias: ModelAlias) -> Target:
        key = dotted("models", name)
        why = f"{key} in {self._settings.origin(key).file}, {_by(self._model_from)}"
        if alias.places:
            meant = self._alias_at or self._endpoint
            place = next((one for one in alias.places if one == meant), alias.places[0])
            target = self._at(place, alias.model or name, why, alias)
            theirs = self._settings.endpoints[place].names.get(name)
            return msgspec.structs.replace(
                target,
                model_there=theirs or target.model_there,
                prices=prices_for(self._settings, place, of=(name, alias.model or name)),
            )
        return self._here(alias.file, why, alias)

    def _named(self, endpoint: str) -> Target:
        """An endpoint by its name, with the model that was named or the only one it lists."""
        found = self._settings.endpoints.get(endpoint)
        if found is None:
            message = f"--endpoint {endpoint} is no URL and no endpoint of the settings"
            if not self._settings.endpoints:
                raise UsageError(message, hint="a URL begins with http:// or https://")
            raise UsageError(message, hint=nearest(endpoint, self._settings.endpoints, "there are"))
        model = self._model
        if model is None:
            if len(found.models) != 1:
                listed = ", ".join(found.models) or "no model"
                hint = f"{dotted('endpoints', endpoint)} lists {listed}"
                raise UsageError(f"--endpoint {endpoint} needs --model", hint=hint)
            model = found.models[0]
        key = dotted("endpoints", endpoint)
        why = f"{key} in {self._settings.origin(key).file}, {_by(self._endpoint_from)}"
        return self._at(endpoint, model, why)

    def _listed(self, model: str) -> Target:
        """A model without an endpoint: at the one endpoint that lists it."""
        listing = self._listing(model)
        if len(listing) == 1:
            key = dotted("endpoints", listing[0])
            why = f"listed by {key} in {self._settings.origin(key).file}"
            return self._at(listing[0], model, why)
        if listing:
            raise UsageError(
                f"--model {model} is listed by the endpoints {' and '.join(listing)}",
                hint=f"add --endpoint {listing[0]}, or another of them",
            )
        names = [*self._settings.models]
        names += [one for known in self._settings.endpoints.values() for one in known.models]
        if names:
            message = f"--model {model} is no model file and no model of the settings"
            hint = nearest(model, list(dict.fromkeys(names)), "the settings know")
            raise UsageError(f"{message}, and no --endpoint is named", hint=hint)
        return self._here(model, "")  # `choose` says what is missing

    def _at(self, name: str, model: str, why: str, alias: ModelAlias | None = None) -> Target:
        """At a configured endpoint. What the order says itself wins over what the file says."""
        found, order = self._settings.endpoints[name], self._order
        said = {header.lower() for header, _ in order.headers}
        kept = [(key, value) for key, value in found.headers.items() if key.lower() not in said]
        changed = self._changed(found.url, model, alias)
        return Target(
            order=msgspec.structs.replace(
                changed,
                key=order.key or found.key,
                headers=(
                    *((key, value) for key, value in kept if reference_of(value) is None),
                    *order.headers,
                ),
                concurrency=self._preferred("concurrency", order.concurrency, found.concurrency),
            ),
            why=why,
            secret_headers=tuple(
                (key, value) for key, value in kept if reference_of(value) is not None
            ),
            endpoint=name,
            model_there=found.names.get(model),
            metrics=found.metrics,
            prices=prices_for(self._settings, name),
        )

    def _here(self, model: str | None, why: str, alias: ModelAlias | None = None) -> Target:
        return self._plain(None, model, why, alias)

    def _plain(
        self, endpoint: str | None, model: str | None, why: str, alias: ModelAlias | None = None
    ) -> Target:
        order = self._changed(endpoint, model, alias)
        return Target(order=order, why=why, prices=prices_for(self._settings, None))

    def _changed(self, endpoint: str | None, model: str | None, alias: ModelAlias | None) -> Order:
        """The order with what was named, and with the sampling that goes with it."""
        said, known = self._order.sampling, alias or ModelAlias()
        sampling = Sampling(
            max_tokens=self._preferred("max_tokens", said.max_tokens, known.max_tokens),
            temperature=self._preferred("temperature", said.temperature, known.temperature),
            seed=known.seed if said.seed is None else said.seed,
            extra={**_raw(known.params), **said.extra},
        )
        return msgspec.structs.replace(
            self._order,
            endpoint=endpoint,
            model=model,
            sampling=sampling,
            concurrency=self._preferred("concurrency", self._order.concurrency, None),
        )

    def _preferred(self, key: str, said: N | None, of_name: N | None) -> N | None:
        """What was said for this run, else what goes with the name, else what holds for all."""
        for_all: N | None = getattr(self._settings, key)
        is_for_this_run = self._settings.origin(key).source.is_of_the_moment
        if said is not None and (is_for_this_run or said != for_all):
            return said
        if for_all is not None and is_for_this_run:
            return for_all
        return for_all if of_name is None else of_name


def _raw(params: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in params.items()}


def _by(origin: Origin) -> str:
    """Who named it."""
    if origin.source is Source.FILE:
        return f"named by {origin.words.partition(': ')[2]} in {origin.file}"
    words = origin.words.removeprefix("env ").removeprefix("flag ")
    return f"named by {words}" if words else "named for this run"
