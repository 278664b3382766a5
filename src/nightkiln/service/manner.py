"""How a job is run: what a run needs that is no part of what was submitted.

Kept beside the job, so that `jobs resume JOB` and `jobs retry JOB --run` need
nothing typed again. Never a secret: the credential is kept by its reference,
of headers only the names, and an address that carries a key is not kept. A kept
key goes to the endpoint it was named for and to no other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job
from nightkiln.core.reuse import CacheUse, Dedupe
from nightkiln.plan.budget import Caps
from nightkiln.service.context import Context
from nightkiln.service.orders import Order
from nightkiln.service.outputs import STDOUT
from nightkiln.store import jobs

_SECRET_WORDS: Final = ("key", "token", "secret", "sig", "password", "auth")


class Manner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last run's settings. Paths are absolute: a job may be resumed from anywhere."""

    model: str | None = None  # as the order named it; None: the pilot
    endpoint: str | None = None
    more_endpoints: tuple[str, ...] = ()
    key: str | None = None  # a reference: env:NAME, file:PATH or keyring:SERVICE/USER
    more_keys: tuple[str, ...] = ()
    backends: int = 1  # that these names meant when the job was run last
    header_names: tuple[str, ...] = ()  # their values have to be given again
    secret_endpoint: bool = False  # there was an endpoint, and its address held a secret
    timeout_s: float = 600.0
    concurrency: int | None = None
    kv_cache_gb: int = 1
    output: str | None = None
    output_format: str | None = None
    excel_safe: bool = False
    precision: str = "auto"
    rpm: float | None = None
    tpm: float | None = None
    caps: Caps = Caps()
    bad_rows: str | None = None
    try_rows: int | None = None  # ask so many first; once they are tried it counts no more
    dedupe: Dedupe = Dedupe.AUTO
    cache: CacheUse = CacheUse.AUTO


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is said anew when a job goes on; None leaves what it was."""

    endpoint: str | None = None
    more_endpoints: tuple[str, ...] = ()  # only with `endpoint`, and in place of all before
    key: str | None = None
    more_keys: tuple[str, ...] = ()  # only with `key`, likewise
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float | None = None
    concurrency: int | None = None
    caps: Caps = Caps()
    output: str | None = None
    output_format: str | None = None
    excel_safe: bool = False  # True: from now on; False: as it was
    generation: int | None = None  # that a retry has just opened; a server may be through with it
    wait_s: float | None = None  # for a backend that takes nothing; None: without limit


def manner_of(order: Order, *, backends: int = 1) -> Manner:
    """The part of an order that may be kept and is not in the job's spec."""
    addresses = () if order.endpoint is None else (order.endpoint, *order.more_endpoints)
    secret = any(map(_holds_secret, addresses))
    return Manner(
        model=order.model if order.endpoint else _absolute_model(order.model),
        endpoint=None if secret else order.endpoint,
        more_endpoints=() if secret else order.more_endpoints,
        key=_absolute_key(order.key),
        more_keys=tuple(key for one in order.more_keys if (key := _absolute_key(one))),
        backends=backends,
        header_names=tuple(name for name, _ in order.headers),
        secret_endpoint=secret,
        timeout_s=order.timeout_s,
        concurrency=order.concurrency,
        kv_cache_gb=order.kv_cache_gb,
        output=_absolute_output(order.output),
        output_format=order.output_format,
        excel_safe=order.excel_safe,
        precision=order.precision,
        rpm=order.rpm,
        tpm=order.tpm,
        caps=order.caps,
        bad_rows=_absolute_output(order.bad_rows),
        try_rows=order.try_rows,
        dedupe=order.dedupe,
        cache=CacheUse.REFRESH if order.new and order.cache is CacheUse.AUTO else order.cache,
    )


def text_of(order: Order, *, backends: int = 1) -> str:
    """What is kept of an order, as `store.jobs.set_manner` takes it."""
    return msgspec.json.encode(manner_of(order, backends=backends)).decode()


async def remember(context: Context, job: JobId, order: Order, *, backends: int = 1) -> None:
    """Keep how a job is run from here on. Raises DiskError.

    A job that was begun to get new answers goes on with new answers.
    """
    manner, before = manner_of(order, backends=backends), await _kept(context, job)
    if before is not None and before.cache is CacheUse.REFRESH and manner.cache is CacheUse.AUTO:
        manner = msgspec.structs.replace(manner, cache=CacheUse.REFRESH)
    text = msgspec.json.encode(manner).decode()
    await context.store.write(lambda tx: jobs.set_manner(tx, job, text))


async def went_to_several(context: Context, job: JobId) -> bool:
    """True where the job's rows were last shared out to several backends."""
    kept = await _kept(context, job)
    return kept is not None and kept.backends > 1


async def reuse_wanted(context: Context, job: JobId) -> tuple[Dedupe, CacheUse]:
    """What a job's rows may share, and what becomes of answers of earlier jobs."""
    kept = await _kept(context, job) or Manner()
    return kept.dedupe, kept.cache


async def model_named(context: Context, job: JobId) -> str | None:
    """The model that the job's last order named; None where it named none."""
    kept = await _kept(context, job)
    return None if kept is None else kept.model


async def _kept(context: Context, job: JobId) -> Manner | None:
    text = await context.store.read(lambda tx: jobs.manner_of(tx, job))
    return None if text is None else msgspec.json.decode(text, type=Manner)


async def order_again(
    context: Context, job: Job, changes: Changes, *, tell: Callable[[str], None]
) -> Order:
    """The order that goes on with a job as it was run last, but for the changes.

    Tells of keys that are left behind with their endpoint. Raises UsageError,
    naming the options, where something was never kept.
    """
    known = await _kept(context, job.id)
    kept = known or Manner()
    _check_complete(job, kept, changes, known=known is not None)
    keys = _keys_again(kept, changes, tell)
    return Order(
        input=job.spec.source.name,
        output=changes.output or kept.output,
        output_format=changes.output_format if changes.output else kept.output_format,
        prompt=job.spec.prompt,
        model=kept.model or (job.spec.model if changes.endpoint else None),
        task=job.spec.task,
        sampling=job.spec.sampling,
        endpoint=changes.endpoint or kept.endpoint,
        more_endpoints=changes.more_endpoints if changes.endpoint else kept.more_endpoints,
        key=next(iter(keys), None),
        more_keys=keys[1:],
        headers=changes.headers,
        timeout_s=changes.timeout_s or kept.timeout_s,
        concurrency=changes.concurrency or kept.concurrency,
        kv_cache_gb=kept.kv_cache_gb,
        excel_safe=kept.excel_safe or changes.excel_safe,
        precision=kept.precision,
        rpm=kept.rpm,
        tpm=kept.tpm,
        caps=kept.caps.under(changes.caps),
        bad_rows=kept.bad_rows,
        try_rows=_still_to_try(context, job, kept),
        dedupe=kept.dedupe,
        cache=kept.cache,
        wait_s=changes.wait_s,
    )


def _still_to_try(context: Context, job: Job, kept: Manner) -> int | None:
    """How many rows a run is to try first: none once some were tried, or all were asked."""
    tried = job.generation > 1 or context.files(job.id).trial.exists()
    return None if tried else kept.try_rows


def _keys_again(kept: Manner, changes: Changes, tell: Callable[[str], None]) -> tuple[str, ...]:
    """The keys to go on with. Raises UsageError where some endpoints have a kept one and some not.

    Who moves a job to another address has not said that its owner may see the key
    of the first one.
    """
    if changes.key is not None:
        return (changes.key, *changes.more_keys)
    before, keys = (kept.endpoint, *kept.more_endpoints), _kept_keys(kept)
    if changes.endpoint is None:
        return keys
    places = (changes.endpoint, *changes.more_endpoints)
    if tuple(map(_address, places)) == tuple(map(_address, before)):
        return keys
    owned = _by_address(before, keys)
    found = [owned.get(_address(place), ()) for place in places]
    if len(found) > 1 and any(found):
        if not all(len(mine) == 1 for mine in found):
            raise UsageError(
                f"only some of the {len(places)} endpoints have a key of this job's",
                hint="give --key once for each of them, in their order",
            )
        return tuple(key for mine in found for key in mine)
    if keys and not any(found):
        where = " and ".join(place for place in before if place is not None) or "another endpoint"
        verb, were = ("is", "it was") if len(keys) == 1 else ("are", "they were")
        tell(
            f"{' and '.join(keys)} {verb} not sent to {' and '.join(map(_shown, places))}:"
            f" {were} named for {where}; --key REF names one"
        )
    return found[0]


def _kept_keys(kept: Manner) -> tuple[str, ...]:
    return kept.more_keys if kept.key is None else (kept.key, *kept.more_keys)


def _by_address(
    places: tuple[str | None, ...], keys: tuple[str, ...]
) -> dict[str | None, tuple[str, ...]]:
    """Which keys were named for which endpoint: one each, or all for the only one."""
    if len(places) == 1:
        return {_address(places[0]): keys}
    owned: dict[str | None, tuple[str, ...]] = {}
    for place, key in zip(places, keys, strict=False):  # several endpoints may have no key at all
        owned[_address(place)] = (*owned.get(_address(place), ()), key)
    return owned


def _address(place: str | None) -> str | None:
    return None if place is None else place.rstrip("/")


def _shown(place: str) -> str:
    """An endpoint for a message: without parameters, which may hold a secret."""
    return place.partition("?")[0]


def _check_complete(job: Job, kept: Manner, changes: Changes, *, known: bool) -> None:
    if not known and changes.endpoint is None:
        raise UsageError(
            f"nobody has run job {job.id} yet, so it is not known where its model is",
            hint="add --endpoint URL, or run the command that made the job",
        )
    if kept.secret_endpoint and changes.endpoint is None:
        raise UsageError(
            f"the address that job {job.id} was sent to holds a secret, so it was not kept",
            hint="add --endpoint URL",
        )
    given = {name.lower() for name, _ in changes.headers}
    missing = [name for name in kept.header_names if name.lower() not in given]
    if missing:
        raise UsageError(
            f"job {job.id} was run with headers whose values are not kept: {', '.join(missing)}",
            hint=" ".join(f"--header {name}=VALUE" for name in missing),
        )


def _holds_secret(url: str) -> bool:
    """True for an address with a key among its parameters."""
    names = [name.lower() for name, _ in parse_qsl(urlsplit(url).query)]
    return any(word in name for name in names for word in _SECRET_WORDS)


def _absolute_key(key: str | None) -> str | None:
    if key is None or not key.startswith("file:"):
        return key
    return f"file:{Path(key.removeprefix('file:')).expanduser().absolute()}"


def _absolute_model(model: str | None) -> str | None:
    if model is None or model.startswith("hf:") or not Path(model).expanduser().exists():
        return model
    return str(Path(model).expanduser().absolute())


def _absolute_output(output: str | None) -> str | None:
    if output is None or output == STDOUT:
        return output
    folder = "/" if output.endswith("/") else ""  # which says that it is a folder
    return str(Path(output).expanduser().absolute()) + folder
