"""What `import nightkiln` offers, and what it must not cost.

Imports are measured in a process of their own, because this one has already
imported everything.
"""

import subprocess
import sys

import pytest

import nightkiln

HEAVY = ("pyarrow", "sqlalchemy", "rich", "click", "uvloop")


def heavy_modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return {name for name in done.stdout.split() if name in HEAVY}


def test_there_are_public_names_and_no_doubles() -> None:
    assert nightkiln.__all__
    assert len(set(nightkiln.__all__)) == len(nightkiln.__all__)


@pytest.mark.parametrize("name", nightkiln.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(nightkiln, name)
    if callable(value) or isinstance(value, type(sys)):
        assert value.__doc__, f"nightkiln.{name} is public: say what a caller gets"
    elif name != "__version__":
        assert name in (nightkiln.__doc__ or ""), f"the package docstring must explain {name}"


def test_every_name_without_an_underscore_is_exported() -> None:
    own = {
        name
        for name, value in vars(nightkiln).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert own <= set(nightkiln.__all__), "Export it or give it an underscore."


def test_importing_the_package_is_cheap() -> None:
    heavy = heavy_modules_after("import nightkiln")
    assert not heavy, f"import nightkiln must stay quick: import {heavy} inside the function"


def test_the_command_line_asks_for_help_without_the_heavy_parts() -> None:
    heavy = heavy_modules_after("import nightkiln.cli.main") - {"click"}
    assert not heavy, f"nightkiln --help must stay quick: import {heavy} inside the command"
