"""Our command line with the prefix order taken out: rows are asked in the table's order.

    tableorder.py ARGUMENTS...          as `nightkiln ARGUMENTS...`
    tableorder.py engine ARGUMENTS...   as `engine_child.py ARGUMENTS...`

The product has no such switch, for nobody gains by it; only a comparison does.
"""

import sys
from functools import partialmethod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from nightkiln.cli.main import main
from nightkiln.dispatch.fleet import Fleet


def in_the_tables_order() -> None:
    """Make every fleet of this process one that leaves rows in their order."""
    given = partialmethod(Fleet.__init__, by_prefix=False)
    setattr(Fleet, "__init__", given)  # noqa: B010  # mypy: methods are not for assigning


if __name__ == "__main__":
    in_the_tables_order()
    if sys.argv[1:2] == ["engine"]:
        from bench import engine_child

        print(msgspec.json.encode(engine_child.run(sys.argv[2:])).decode())
        sys.exit(0)
    sys.exit(main())
