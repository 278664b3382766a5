"""Column names: are the ones asked for there, and are ours still free?

A wrong name costs the user one look at the message: it lists the columns there
are and guesses the one that was meant. Nothing here looks at values.
"""

import difflib
from collections.abc import Sequence

from nightkiln.core.errors import UsageError
from nightkiln.tables.base import OUTPUT_COLUMNS


def check_present(wanted: Sequence[str], columns: Sequence[str], *, what: str) -> None:
    """Raise UsageError for the first of `wanted` that is not among `columns`."""
    for name in wanted:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.6)
            guess = f'did you mean "{near[0]}"?' if near else ""
            raise UsageError(
                f'{what} names the column "{name}", which is not in the input; {listed(columns)}',
                hint=guess,
            )


def check_collisions(
    columns: Sequence[str], fields: Sequence[str] = (), *, added: Sequence[str] = OUTPUT_COLUMNS
) -> None:
    """Raise UsageError when an input column has the name of a column we add.

    `fields` are those of the answers' schema; they may not be named like ours either.
    """
    ours = {*added, *fields}
    if clash := [name for name in fields if name in added]:
        raise UsageError(
            f"the schema has properties named {quoted(clash)}, like columns the output adds",
            hint="rename them in the schema and run again",
        )
    taken = [name for name in columns if name in ours]
    if taken:
        noun = "the column" if len(taken) == 1 else "the columns"
        raise UsageError(
            f"the input already has {noun} {quoted(taken)}, which the output adds",
            hint=f"rename {'it' if len(taken) == 1 else 'them'} in the input and run again",
        )


def missing_key(name: str) -> str:
    """What is said of a row that has not even a null for the prompt."""
    return f'no key "{name}", which the prompt needs'


def listed(columns: Sequence[str]) -> str:
    """The columns there are, as the end of a sentence; at most thirty by name."""
    if not columns:
        return "the input has no columns"
    more = f" and {len(columns) - 30} more" if len(columns) > 30 else ""
    return f"the columns are: {quoted(columns[:30])}{more}"


def quoted(names: Sequence[str]) -> str:
    """Names in quotes, with commas between."""
    return ", ".join(f'"{name}"' for name in names)
