"""Every knob of the simulated provider, defined once.

The fields below are the command line's options, the keys of `/_ctl/config` and the checks on
both. Nothing here opens a socket or draws a number.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final, get_args, get_type_hints

import msgspec
from msgspec import Meta

from nightkiln.core.errors import UsageError
from nightkiln.simulate.distributions import parse_distribution
from nightkiln.simulate.faults import FaultKind

AtLeastZero = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1, le=4096)]

DISTRIBUTIONS: Final = ("latency", "out_tokens")
SHARE_SUM_SLACK: Final = 1e-9  # ten shares of 0.1 add up to a hair more than 1


class SettingsError(UsageError):
    """A setting that does not exist or cannot have the given value."""


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulated provider behaves; the defaults answer at once and never fail."""

    latency: Annotated[
        str, Meta(description="ms to the answer, or to the first token of a stream")
    ] = "const:0"
    itl: Annotated[AtLeastZero, Meta(description="ms per output token")] = 0.0
    out_tokens: Annotated[
        str, Meta(description="tokens per answer; max_tokens of the request caps it")
    ] = "const:16"
    capacity: Annotated[Count, Meta(description="requests served at once; 0 = no limit")] = 0
    queue: Annotated[Count, Meta(description="requests that may wait; beyond it 429")] = 1_000_000
    retry_after: Annotated[
        AtLeastZero, Meta(description="seconds a 429 asks for when full or injected")
    ] = 1.0
    slow_per_inflight: Annotated[
        AtLeastZero, Meta(description="extra ms per request in flight: a soft knee")
    ] = 0.0
    rpm: Annotated[AtLeastZero, Meta(description="requests per minute; 0 = no limit")] = 0.0
    tpm: Annotated[AtLeastZero, Meta(description="tokens per minute; 0 = no limit")] = 0.0
    burst_s: Annotated[
        AtLeastZero, Meta(description="seconds of rpm and tpm that may be used at once")
    ] = 1.0
    tells: Annotated[
        int, Meta(ge=0, le=1, description="1 tells of rpm and tpm in x-ratelimit headers")
    ] = 1
    p500: Annotated[Share, Meta(description="share answered 500")] = 0.0
    p503: Annotated[Share, Meta(description="share answered 503 with retry-after")] = 0.0
    p429: Annotated[Share, Meta(description="share answered 429 with retry-after")] = 0.0
    ptimeout: Annotated[Share, Meta(description="share held open for hang-s")] = 0.0
    preset: Annotated[Share, Meta(description="share cut by a TCP reset")] = 0.0
    ptruncate: Annotated[Share, Meta(description="share cut half way through the body")] = 0.0
    pmalformed: Annotated[Share, Meta(description="share answered 200 with broken JSON")] = 0.0
    pdrip: Annotated[Share, Meta(description="share sent one byte every drip-s")] = 0.0
    pempty: Annotated[Share, Meta(description="share answered 200 with an empty body")] = 0.0
    phtml: Annotated[Share, Meta(description="share answered 200 with an HTML page")] = 0.0
    pnochoices: Annotated[Share, Meta(description="share answered 200 without choices")] = 0.0
    hang_s: Annotated[AtLeastZero, Meta(description="seconds a hanging request is held")] = 3600.0
    drip_s: Annotated[AtLeastZero, Meta(description="seconds between dripped bytes")] = 0.2
    metrics: Annotated[
        int, Meta(ge=0, le=1, description="1 tells at /metrics who runs and waits, as vLLM does")
    ] = 1
    seed: Annotated[int, Meta(description="the dice: same seed, same order, same faults")] = 7
    track: Annotated[
        int, Meta(ge=0, le=1, description="1 counts requests per prompt; 0 saves the memory")
    ] = 1
    api_key: Annotated[str, Meta(description="answer 401 to requests without this key")] = ""
    sse_tokens: Annotated[Positive, Meta(description="tokens per streamed event")] = 1
    embed_dim: Annotated[Positive, Meta(description="numbers per embedding")] = 16

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            setting.checked(getattr(self, setting.name))
        total = sum(self.shares().values())
        if total > 1 + SHARE_SUM_SLACK:
            raise SettingsError(f"the shares of faults add up to {total:g}, which is more than 1")

    def shares(self) -> dict[FaultKind, float]:
        """The share of requests that meets each fault."""
        return {kind: getattr(self, kind.value) for kind in FaultKind}

    def changed(self, changes: Mapping[str, object]) -> "SimulatorSettings":
        """These settings with some replaced; raises SettingsError and names what is wrong.

        Numbers may come as text, as they do from a command line.
        """
        unknown = sorted(changes.keys() - BY_NAME.keys())
        if unknown:
            known = ", ".join(BY_NAME)
            raise SettingsError(f"unknown keys: {', '.join(unknown)}; the known keys are {known}")
        checked = {name: BY_NAME[name].checked(value) for name, value in changes.items()}
        return msgspec.structs.replace(self, **checked)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of settings."""

    name: str
    default: str | int | float
    description: str
    annotation: object  # the type with its bounds, as msgspec reads it

    @property
    def flag(self) -> str:
        """How it is written on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_distribution(self) -> bool:
        """Whether its text must parse as a distribution."""
        return self.name in DISTRIBUTIONS

    def checked(self, value: object) -> object:
        """The value in its own type, or SettingsError when it does not fit."""
        if isinstance(value, bool):
            value = int(value)
        if self.is_distribution and isinstance(value, int | float):
            value = f"const:{value:g}"
        try:
            fitted: object = msgspec.convert(value, type=self.annotation, strict=False)
            if self.is_distribution:
                parse_distribution(str(fitted))
        except (msgspec.ValidationError, ValueError) as error:
            raise SettingsError(f"{self.name} cannot be {value!r}: {error}") from None
        if isinstance(fitted, float) and not math.isfinite(fitted):
            raise SettingsError(f"{self.name} cannot be {value!r}: it must be finite")
        return fitted


def _table() -> tuple[Setting, ...]:
    hints = get_type_hints(SimulatorSettings, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(SimulatorSettings):
        texts = [meta.description for meta in get_args(hints[field.name]) if _describes(meta)]
        rows.append(
            Setting(
                name=field.name,
                default=field.default,
                description=texts[-1],
                annotation=hints[field.name],
            )
        )
    return tuple(rows)


def _describes(meta: object) -> bool:
    return isinstance(meta, Meta) and meta.description is not None


SETTINGS: Final = _table()
BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
