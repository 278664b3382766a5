"""Optional packages, imported when first used. Installs nothing."""

import importlib
from typing import Any

import msgspec

from nightkiln.core.errors import MissingExtra


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """A set of packages that comes with `pip install "nightkiln[name]"` only."""

    name: str
    purpose: str  # what needs them; a message begins with it

    def module(self, module: str) -> Any:
        """One of its modules. Raises MissingExtra with the install line."""
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as problem:
            install = f'pip install "nightkiln[{self.name}]"'
            missing = problem.name or module
            raise MissingExtra(
                f"{self.purpose} needs {missing}: {install}", hint=install
            ) from problem
