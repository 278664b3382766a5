"""The optional packages that XLSX needs, imported when first used. Installs nothing."""

import importlib
from typing import Any, Final

from nightkiln.core.errors import MissingExtra

INSTALL: Final = 'pip install "nightkiln[excel]"'


def needed(module: str) -> Any:
    """An optional module. Raises MissingExtra with the install line."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        raise MissingExtra(
            f"XLSX needs {problem.name or module}: {INSTALL}", hint=INSTALL
        ) from problem
