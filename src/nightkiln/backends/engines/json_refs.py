"""References within a schema: where they lead, and which lead back. Pure."""

from typing import Any
from urllib.parse import unquote


class UnknownReference(ValueError):
    """A reference leads out of the schema, or nowhere in it."""


def found(schema: Any, place: Any) -> dict[str, Any]:
    """The schema that a reference leads to. Raises UnknownReference."""
    if not isinstance(place, str) or not (place == "#" or place.startswith("#/")):
        raise UnknownReference(f"the reference {place!r} is not known here: only '#/...' is")
    here = schema
    for step in place.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
        elif isinstance(here, dict) and key in here:
            here = here[key]
        else:
            here = None
    if not isinstance(here, dict):
        raise UnknownReference(f"the reference {place!r} leads to no schema in it")
    return here


def reached(schema: Any, part: Any) -> set[str]:
    """The references in a part of a schema, and in what those lead to."""
    places: set[str] = set()
    waiting = [part]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            place = value.get("$ref")
            if isinstance(place, str) and place not in places:
                places.add(place)
                waiting.append(found(schema, place))
    return places
