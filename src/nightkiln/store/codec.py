"""Structures as JSON text in a column, and back. One way to write each, so equal is equal."""

import msgspec

from nightkiln.core.access import KeyCaps
from nightkiln.core.batches import Batch
from nightkiln.core.files import Upload
from nightkiln.core.job import JobSpec, Live
from nightkiln.core.usage import Totals
from nightkiln.core.webhooks import Delivery, Webhook

_totals = msgspec.json.Decoder(Totals)
_spec = msgspec.json.Decoder(JobSpec)
_live = msgspec.json.Decoder(Live)
_names = msgspec.json.Decoder(tuple[str, ...])
_caps = msgspec.json.Decoder(KeyCaps)
_upload = msgspec.json.Decoder(Upload)
_batch = msgspec.json.Decoder(Batch)
_webhook = msgspec.json.Decoder(Webhook)
_delivery = msgspec.json.Decoder(Delivery)

Coded = Totals | JobSpec | Live | KeyCaps | Upload | Batch | Webhook | Delivery | tuple[str, ...]


def text_of(value: Coded) -> str:
    """The JSON text of a structure."""
    return msgspec.json.encode(value).decode()


def named(name: str) -> str:
    """What the JSON text of a spec holds exactly when its label has this name."""
    return f'"label":{{"name":{msgspec.json.encode(name).decode()}'


def totals_of(text: str) -> Totals:
    """Totals from their column."""
    return _totals.decode(text)


def spec_of(text: str) -> JobSpec:
    """A job's spec from its column."""
    return _spec.decode(text)


def live_of(text: str | None) -> Live | None:
    """A runner's last word from its column, if there was one."""
    return None if text is None else _live.decode(text)


def names_of(text: str) -> tuple[str, ...]:
    """Some names, of columns or of fault classes, from their column."""
    return _names.decode(text)


def caps_of(text: str) -> KeyCaps:
    """What a key may use, from its column."""
    return _caps.decode(text)


def upload_of(text: str) -> Upload:
    """An upload from its column."""
    return _upload.decode(text)


def batch_of(text: str) -> Batch:
    """A batch from its column."""
    return _batch.decode(text)


def webhook_of(text: str) -> Webhook:
    """A webhook from its column."""
    return _webhook.decode(text)


def delivery_of(text: str) -> Delivery:
    """An event on its way from its column."""
    return _delivery.decode(text)
