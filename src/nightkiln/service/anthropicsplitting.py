"""A document of requests becomes lines of our own batch kind, apart for each model asked.

Each line holds the chat that a request translates to, and what translating the answer
back will need. A request that cannot be said, or whose model nobody here serves, keeps
its place as a line with the reason: it ends as `errored`, and nobody is asked. Requests
may call one model by any of its names; those for another model, or for the same one
elsewhere, go into lines of their own, for a job asks one model.
"""

import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Task
from nightkiln.service.answering import Allow, Models, Served
from nightkiln.vault.arrivals import Sealed
from nightkiln.vault.durable import disk_errors
from nightkiln.vault.parts import PartWriter
from nightkiln.wire.anthropic.create import Entry, read_create
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.params import model_of, shows_thinking, translate
from nightkiln.wire.anthropic.rules import Rules

URL: Final = "/v1/chat/completions"
MOST_MODELS: Final = 32  # of one batch: each is a job of its own
_encode: Final = msgspec.json.Encoder().encode


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line keeps for its answer."""

    model: str = ""
    thinking: bool = False
    at: int = 0  # its place among all requests of the document


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a document that ask one model."""

    served: Served | None  # None: nobody is asked any of them
    lines: Sealed
    count: int


class _Why(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as a line of our own batch kind."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw
    asked: About
    refused: _Why | None = None


class Splitting:
    """Makes lines of requests, and finds out which models they ask."""

    def __init__(self, rules: Rules, models: Models, allow: Allow) -> None:
        self.chosen: list[Served] = []  # in the order in which requests name them first
        self.count = 0
        self._rules = rules
        self._models = models
        self._allow = allow
        self._known: dict[str, Served | None] = {}

    def line(self, entry: Entry) -> tuple[int, bytes]:
        """A request as a line, and in which share; those that ask nobody are in the first."""
        model = model_of(entry.params)
        share, refusal = self._share(model)
        body = refusal or translate(entry.params, rules_for(self._rules, self._known.get(model)))
        why = _Why(body.code, body.message) if isinstance(body, Fault) else None
        line = _Line(
            custom_id=entry.custom_id,
            method="POST",
            url=URL,
            body=msgspec.Raw(b"{}" if isinstance(body, Fault) else body.json),
            asked=About(model=model, thinking=shows_thinking(entry.params), at=self.count),
            refused=why,
        )
        self.count += 1
        return share, _encode(line) + b"\n"

    def _share(self, model: str) -> tuple[int, Fault | None]:
        """The share of a model; with why, where it is asked nothing."""
        if not model:
            return 0, None
        served = self._served(model)
        if served is None:
            return 0, _fault("model_not_found", f"model: {model[:100]} is not served here")
        for share, one in enumerate(self.chosen):
            if one.place == served.place:
                return share, None
        if len(self.chosen) == MOST_MODELS:
            said = f"model: a batch here asks {MOST_MODELS} models at most"
            return 0, _fault("too_many_models", f"{said}; put this request into another batch")
        self.chosen.append(served)
        return len(self.chosen) - 1, None

    def _served(self, model: str) -> Served | None:
        if model not in self._known:
            found = self._models.served(model, Task.CHAT)
            self._known[model] = found if found and self._allow(URL, model) else None
        return self._known[model]


def rules_for(rules: Rules, served: Served | None) -> Rules:
    """The rules where a model's backends can be told what they can be told."""
    if served is None:
        return rules
    return msgspec.structs.replace(rules, thinking=served.thinking, prefill=served.prefill)


def _fault(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=message)


def split(
    document: Path, new_path: Callable[[], Path], splitting: Splitting
) -> tuple[Share, ...] | Refusal:
    """Write a document's requests as lines, durably; none of it stays after an exception.

    There is at least one share, and what asks nobody is in the first. Blocking. Raises
    DiskError.
    """
    with document.open("rb") as data:
        if not document.stat().st_size:
            created = read_create(b"")
        else:
            # Its requests are views into the map, which goes when the last of them does.
            created = read_create(memoryview(mmap.mmap(data.fileno(), 0, prot=mmap.PROT_READ)))
    if isinstance(created, Refusal):
        return created
    writing = _Writing(new_path)
    try:
        with disk_errors("writing the requests of a batch"):
            writing.write(map(splitting.line, created.requests))
        return writing.shares(splitting.chosen)
    finally:
        writing.close()


class _Writing:
    """The files of the shares while they are written."""

    def __init__(self, new_path: Callable[[], Path]) -> None:
        self._new_path = new_path
        self._paths: list[Path] = []
        self._outs: list[PartWriter] = []
        self._counts: list[int] = []
        self._fds: list[int] = []
        self._stack = ExitStack()
        self._whole = False

    def write(self, lines: Iterable[tuple[int, bytes]]) -> None:
        """Write every line to the file of its share, and make all durable."""
        for share, line in lines:
            while share >= len(self._outs):
                self._open()
            self._outs[share].write(line)
            self._counts[share] += 1
        for out, fd in zip(self._outs, self._fds, strict=True):
            out.flush()
            os.fsync(fd)
        self._whole = True

    def shares(self, chosen: list[Served]) -> tuple[Share, ...]:
        """What was written."""
        return tuple(
            Share(
                served=chosen[number] if number < len(chosen) else None,
                lines=Sealed(path=path, size_bytes=out.size, sha256=out.digest.hexdigest()),
                count=count,
            )
            for number, (path, out, count) in enumerate(
                zip(self._paths, self._outs, self._counts, strict=True)
            )
        )

    def close(self) -> None:
        """Close the files; what is not whole goes."""
        self._stack.close()
        for path in () if self._whole else self._paths:
            path.unlink(missing_ok=True)

    def _open(self) -> None:
        path = self._new_path()
        out = self._stack.enter_context(path.open("xb"))
        self._paths.append(path)
        self._outs.append(PartWriter(out))
        self._counts.append(0)
        self._fds.append(out.fileno())
