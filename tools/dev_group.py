"""Print the `dev` dependency group of pyproject.toml, one requirement a line.

For pip versions that do not know `--group`. It installs nothing itself.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def group(name: str) -> list[str]:
    """The requirements of one dependency group, in the order they are written."""
    tables = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    requirements: list[str] = tables["dependency-groups"][name]
    return requirements


if __name__ == "__main__":
    sys.stdout.write("\n".join(group("dev")) + "\n")
