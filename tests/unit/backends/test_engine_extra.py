"""A missing optional package is an error that says how to install it."""

import pytest

from nightkiln.backends.engines.extra import needed
from nightkiln.core.errors import MissingExtra


def test_a_missing_package_is_named_with_its_install_line() -> None:
    with pytest.raises(MissingExtra, match=r'no_such_package.*pip install "nightkiln\[local\]"'):
        needed("no_such_package")
