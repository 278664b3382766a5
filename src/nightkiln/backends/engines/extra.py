"""The optional packages engines need, imported when first used. Installs nothing."""

import importlib
from typing import Any

from nightkiln.core.errors import MissingExtra

INSTALL = 'pip install "nightkiln[local]"'


def needed(module: str) -> Any:
    """An optional module. Raises MissingExtra with the install line."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        raise MissingExtra(
            f"running a model here needs {problem.name or module}: {INSTALL}", hint=INSTALL
        ) from problem
