"""The composition root: the one place that names concrete parts and knows the environment.

Its names are loaded when they are first asked for: who only wants the settings
does not wait for the store, the tables and the transports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from nightkiln.app import arrowmemory  # noqa: F401 - before anything that imports pyarrow

if TYPE_CHECKING:
    from nightkiln.app.embedded import Embedded, open_embedded
    from nightkiln.app.reading import Reading, open_reading
    from nightkiln.app.reusing import cache_state, clear_cache
    from nightkiln.app.settings import load_settings
    from nightkiln.app.targets import order_under

__all__ = [
    "Embedded",
    "Reading",
    "cache_state",
    "clear_cache",
    "load_settings",
    "open_embedded",
    "open_reading",
    "order_under",
]

_PLACES: Final = {
    "Embedded": "nightkiln.app.embedded",
    "Reading": "nightkiln.app.reading",
    "cache_state": "nightkiln.app.reusing",
    "clear_cache": "nightkiln.app.reusing",
    "load_settings": "nightkiln.app.settings",
    "open_embedded": "nightkiln.app.embedded",
    "open_reading": "nightkiln.app.reading",
    "order_under": "nightkiln.app.targets",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
