"""The composition root: the one place that names concrete parts and knows the environment."""

from nightkiln.app import arrowmemory  # noqa: F401 - before anything that imports pyarrow
from nightkiln.app.embedded import Embedded, open_embedded
from nightkiln.app.reading import Reading, open_reading

__all__ = ["Embedded", "Reading", "open_embedded", "open_reading"]
