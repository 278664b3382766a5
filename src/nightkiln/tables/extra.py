"""The optional packages that XLSX needs."""

from typing import Final

from nightkiln.core.extras import Extra

needed: Final = Extra(name="excel", purpose="XLSX").module
