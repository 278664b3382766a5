"""Our finer settings of a batch, where OpenAI's request has no field for them. Pure.

They are said in one of two ways, and both exist because clients differ:

- an object `nightkiln` in the body, which Python clients send with
  `extra_body={"nightkiln": {"deadline": "90m", "priority": 1}}`;
- metadata with the prefix `nightkiln_` (`{"nightkiln_deadline": "90m"}`), for
  clients and tools that can send nothing but OpenAI's own fields. All values are
  strings there; they come back with the batch, as metadata does.

The settings are `deadline` (a span like `90m` or an ISO 8601 moment with its
zone; what has no answer by then expires), `priority` (0: somebody waits for it,
1: it has time), `budget` (US dollars; nothing is asked that might cost more) and
`route` (names of backends, as a list or separated by commas, the first
preferred). One setting said in both ways is refused, and so is a name that is
none of the four: a misspelt deadline must not be silence.
"""

from typing import Final

import msgspec

from nightkiln.wire.openai import fields
from nightkiln.wire.openai.fields import Fields
from nightkiln.wire.openai.refusals import Refused, refused
from nightkiln.wire.openai.spans import moment_of

BODY_FIELD: Final = "nightkiln"
METADATA_PREFIX: Final = "nightkiln_"
NAMES: Final = ("deadline", "priority", "budget", "route")
PRIORITIES: Final = (0, 1)
_MOST_BACKENDS: Final = 32


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was said; None and empty where nothing was."""

    deadline_at: float | None = None  # epoch seconds
    priority: int | None = None
    budget_usd: float | None = None
    route: tuple[str, ...] = ()


def settings_of(
    said: Fields | None, metadata: dict[str, str] | None, *, now: float, latest: float
) -> Settings:
    """The settings of a batch whose completion window ends at `latest`. Raises Refused."""
    body, within = said or {}, f"{BODY_FIELD}."
    fields.only(body, NAMES, within=within)
    labels: dict[str, object] = {
        key.removeprefix(METADATA_PREFIX): value
        for key, value in (metadata or {}).items()
        if key.startswith(METADATA_PREFIX)
    }
    prefix = f"metadata.{METADATA_PREFIX}"
    fields.only(labels, NAMES, within=prefix)
    for name in labels:
        if body.get(name) is not None:
            raise refused(
                f"{within}{name} is said in the metadata as well; keep one of them.",
                param=within + name,
                code="invalid_value",
            )
    both = {**body, **labels}

    def place(name: str) -> str:
        return prefix if name in labels else within

    return Settings(
        deadline_at=_deadline(both, place("deadline"), now, latest),
        priority=fields.whole(
            both, "priority", within=place("priority"), least=PRIORITIES[0], most=PRIORITIES[-1]
        ),
        budget_usd=fields.amount(both, "budget", within=place("budget")),
        route=_route(both.get("route"), place("route") + "route"),
    )


def _deadline(both: Fields, within: str, now: float, latest: float) -> float | None:
    found = fields.optional_text(both, "deadline", within=within)
    if found is None:
        return None
    moment, param = moment_of(found, now=now), f"{within}deadline"
    if moment is None:
        raise refused(
            f"{param} is no span like 90m or 2d, and no moment like 2026-11-20T06:00:00Z.",
            param=param,
            code="invalid_value",
        )
    if moment <= now:
        raise refused(f"{param} has passed already.", param=param, code="invalid_value")
    if moment > latest:
        raise refused(
            f"{param} is later than the completion_window ends.", param=param, code="invalid_value"
        )
    return moment


def _route(found: object, param: str) -> tuple[str, ...]:
    if found is None:
        return ()
    names: list[object] = [*found] if isinstance(found, list) else [found]
    if isinstance(found, str):
        names = [part.strip() for part in found.split(",")]
    route: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise _no_route(found, param)
        route.append(name)
    if not all(route) or not 0 < len(route) <= _MOST_BACKENDS or len({*route}) < len(route):
        raise refused(
            f"{param} has to be 1 to {_MOST_BACKENDS} names of backends, each once.",
            param=param,
            code="invalid_value",
        )
    return tuple(route)


def _no_route(found: object, param: str) -> Refused:
    return fields.mistyped(param, "a list of names", found)
