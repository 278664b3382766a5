"""nightkiln: a table of prompts in, a table of answers out."""

from nightkiln._version import __version__

__all__ = ["__version__"]
