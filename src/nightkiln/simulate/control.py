"""Every route that is not a request to the model: reading, changing and resetting the provider.

Nothing here is counted, limited or made to fail, so a test can always look.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from nightkiln.simulate import replies
from nightkiln.simulate.answers import MODELS_BODY
from nightkiln.simulate.provider import Provider
from nightkiln.simulate.settings import SettingsError

KEYED: Final = (b"/v1/models", b"/models")  # the routes here that need the API key

_decode_changes: Final = msgspec.json.Decoder(dict[str, Any]).decode


def control_reply(provider: Provider, path: bytes, body: bytes) -> bytes:
    """The whole answer to one request; 404 for a path that is nowhere."""
    answer = ROUTES.get(path)
    if answer is None:
        return replies.error_reply(404, "there is no such route")
    return answer(provider, body)


def _configured(provider: Provider, body: bytes) -> bytes:
    """Apply the changes, if the body has any, and show all settings."""
    try:
        if body:
            provider.configure(provider.settings.changed(_decode_changes(body)))
    except (SettingsError, msgspec.MsgspecError) as error:
        return replies.error_reply(400, str(error))
    return replies.reply(200, msgspec.json.encode(provider.settings))


def _prompts(provider: Provider, _: bytes) -> bytes:
    if not provider.settings.track:
        return replies.error_reply(404, "prompts are not tracked; set track to 1")
    return replies.reply(200, msgspec.json.encode(provider.tally.requests_per_prompt()))


def _stats(provider: Provider, _: bytes) -> bytes:
    return replies.reply(200, msgspec.json.encode(provider.stats()))


def _reset(provider: Provider, _: bytes) -> bytes:
    provider.reset()
    return replies.reply(200, b"{}")


def _metrics(provider: Provider, _: bytes) -> bytes:
    if not provider.settings.metrics:
        return replies.error_reply(404, "there are no metrics; set metrics to 1")
    return replies.reply(200, provider.metrics(), content_type=replies.METRICS)


def _models(_: Provider, __: bytes) -> bytes:
    return replies.reply(200, MODELS_BODY)


def _health(_: Provider, __: bytes) -> bytes:
    return replies.reply(200, b"{}")


ROUTES: Final[Mapping[bytes, Callable[[Provider, bytes], bytes]]] = {
    b"/_ctl/config": _configured,
    b"/_ctl/stats": _stats,
    b"/_ctl/prompts": _prompts,
    b"/_ctl/reset": _reset,
    b"/metrics": _metrics,
    b"/v1/models": _models,
    b"/models": _models,
    b"/health": _health,
    b"/": _health,
}
