"""The optional packages that engines need."""

from typing import Final

from nightkiln.core.extras import Extra

needed: Final = Extra(name="local", purpose="running a model here").module
