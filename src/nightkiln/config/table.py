"""The one table of what may be set from outside: names, types, defaults and meanings.

A field is a setting, a field that holds a section is `[section]` in the file,
and a field that holds sections by name is `[section.NAME]`. Parsing, the names
of environment variables, `config show` and docs/config.md are all made from
here, and nothing else lists settings. Pure: no file and no environment is read.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

PREFIX: Final = "NIGHTKILN_"


class Means(msgspec.Struct, frozen=True):
    """What a setting is for, in one line, and how it may be said and shown."""

    text: str
    default: str = ""  # in words, where it depends on the machine or the model
    only_env: bool = False  # a variable only, never in a file
    for_tests: bool = False  # of no use but to our own tests
    secret: bool = False  # its value is never repeated


Text = Annotated[str, Meta(min_length=1, description="a text")]
Address = Annotated[str, Meta(description="an http:// or https:// URL without a password in it")]
Reference = Annotated[
    str,
    Meta(
        description="a reference, env:NAME, file:PATH or keyring:SERVICE/USER, never the"
        " secret itself"
    ),
]
References = Annotated[tuple[str, ...], Meta(description="a list of references, as for `key`")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Slots = Annotated[int, Meta(ge=1, le=16384, description="a whole number from 1 to 16384")]
Whole = Annotated[int, Meta(description="a whole number")]
Positive = Annotated[float, Meta(gt=0, description="a number above 0")]
NotNegative = Annotated[float, Meta(ge=0, description="a number, 0 or more")]
Switch = Annotated[bool, Meta(description="true or false")]
Folder = Annotated[Path, Meta(description="a path")]
Texts = Annotated[tuple[str, ...], Meta(description="a list of texts")]
Headers = Annotated[dict[str, str], Meta(description="a table of texts")]
Fields = Annotated[dict[str, Any], Meta(description="a table of names and values")]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that stand together; `config.checks` holds each kind to its own rules."""


class ModelPrice(Section, frozen=True, kw_only=True):
    """What one model costs, in US dollars per million tokens. It wins over the installed table."""

    input: Annotated[NotNegative, Means("a million tokens of input")]
    output: Annotated[NotNegative, Means("a million tokens of output")]
    cached: Annotated[
        NotNegative | None,
        Means("a million tokens of input from the provider's cache", default="as `input`"),
    ] = None


class Endpoint(Section, frozen=True, kw_only=True):
    """A server that speaks OpenAI chat completions, used by `--endpoint NAME`."""

    url: Annotated[Address, Means("base URL, up to and including /v1")]
    key: Annotated[Reference | None, Means("where its API key is", secret=True)] = None
    keys: Annotated[
        References,
        Means("several instead of one: rows are shared out to them, each at its own pace"),
    ] = ()
    headers: Annotated[
        Headers,
        Means("sent with every request; a value may be a reference as for `key`", secret=True),
    ] = {}
    models: Annotated[
        Texts, Means("models it serves; `--model` with one of them finds this endpoint")
    ] = ()
    names: Annotated[
        Headers, Means("what it calls a model, where that is not as you do: ASKED = ITS NAME")
    ] = {}
    concurrency: Annotated[Slots | None, Means("requests in flight", default="as above")] = None
    metrics: Annotated[
        Switch | None,
        Means(
            "ask the engine behind it at /metrics how busy it is",
            default="at addresses of your own network",
        ),
    ] = None
    prices: Annotated[dict[str, ModelPrice], Means("prices that hold at this endpoint only")] = {}
    thinking: Annotated[
        Literal["none", "effort", "template"],
        Means(
            "how it is told to think, for Anthropic's clients: by `reasoning_effort`, or by"
            " `chat_template_kwargs`; none refuses who insists on it"
        ),
    ] = "none"
    prefill: Annotated[
        Switch, Means("it goes on from a last message of the assistant, as vLLM and SGLang do")
    ] = False


class ModelAlias(Section, frozen=True, kw_only=True):
    """A short name for a model, used by `--model NAME`: one at an endpoint, or a model file."""

    endpoint: Annotated[Text | None, Means("the NAME of an `[endpoints.NAME]`")] = None
    endpoints: Annotated[Texts, Means("several instead of one: rows are shared out to them")] = ()
    model: Annotated[
        Text | None, Means("its name at that endpoint", default="the alias itself")
    ] = None
    file: Annotated[
        Text | None, Means("instead of both: a GGUF file, an OpenVINO folder, hf:org/repo[:file]")
    ] = None
    max_tokens: Annotated[Count | None, Means("most tokens of an answer", default="as above")] = (
        None
    )
    temperature: Annotated[NotNegative | None, Means("how freely it answers")] = None
    seed: Annotated[Whole | None, Means("for models that take one")] = None
    params: Annotated[Fields, Means("other fields of the request, as `--param`")] = {}

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the endpoints that serve it."""
        return self.endpoints if self.endpoint is None else (self.endpoint,)


class Engine(Section, frozen=True, kw_only=True):
    """Models on this machine."""

    kv_cache_gb: Annotated[Count, Means("memory for sequences")] = 1
    precision: Annotated[
        Literal["auto", "f32", "bf16"], Means("of its arithmetic; auto is what the processor likes")
    ] = "auto"


class Values(Section, frozen=True, kw_only=True):
    """Every setting there is."""

    home: Annotated[
        Folder, Means("folder that holds the jobs", default="~/.local/share/nightkiln")
    ] = Path("~/.local/share/nightkiln")
    endpoint: Annotated[
        Text | None,
        Means("a URL, or the NAME of an `[endpoints.NAME]`", default="a model on this machine"),
    ] = None
    model: Annotated[
        Text | None, Means("a model, or the NAME of a `[models.NAME]`", default="the pilot")
    ] = None
    max_tokens: Annotated[
        Count | None,
        Means("most tokens of an answer", default="the endpoint's own; 256 of an engine here"),
    ] = None
    temperature: Annotated[
        NotNegative | None,
        Means("how freely a model answers", default="the endpoint's own; 0 of an engine here"),
    ] = None
    concurrency: Annotated[
        Slots | None,
        Means("requests in flight", default="what the backend turns out to bear"),
    ] = None
    timeout: Annotated[Positive, Means("seconds for one try at a row")] = 600.0
    wait: Annotated[
        NotNegative | None,
        Means(
            "seconds for a backend that takes no requests; then the job is left paused",
            default="600; without limit on a terminal",
        ),
    ] = None
    on_bad_row: Annotated[
        Literal["error", "fail", "skip"], Means("what becomes of a row that cannot be read")
    ] = "error"
    dedupe: Annotated[
        Literal["auto", "always", "never"],
        Means("which identical rows share one answer: auto is temperature 0, a seed, embeddings"),
    ] = "auto"
    cache: Annotated[
        Literal["auto", "off", "refresh"],
        Means("answers of earlier jobs: used and kept, neither, or asked anew and kept"),
    ] = "auto"
    cache_gb: Annotated[Positive, Means("most room for kept answers")] = 1.0
    cache_days: Annotated[Positive, Means("days for which an answer is kept")] = 30.0
    gpu_hour_usd: Annotated[
        NotNegative | None,
        Means("US dollars that an hour of your own GPU costs, for estimates", default="unknown"),
    ] = None
    disk_reserve_gb: Annotated[
        NotNegative, Means("room on the disk that files sent to a server leave for its jobs")
    ] = 1.0
    private_webhooks: Annotated[
        Switch, Means("a server's webhooks may also go to addresses of your own network")
    ] = False
    no_color: Annotated[Switch, Means("no colours (the variable NO_COLOR says so too)")] = False
    engine: Annotated[Engine, Means("models on this machine")] = Engine()
    endpoints: Annotated[dict[str, Endpoint], Means("servers by a name of your own")] = {}
    models: Annotated[dict[str, ModelAlias], Means("models by a name of your own")] = {}
    prices: Annotated[dict[str, ModelPrice], Means("prices by the model's name")] = {}
    url: Annotated[
        Address | None,
        Means("a server to work at", default="the one that owns the home, if any", only_env=True),
    ] = None
    api_key: Annotated[
        Text | None,
        Means(
            "the key for that server", default="admin.key of the home", only_env=True, secret=True
        ),
    ] = None
    debug: Annotated[Switch, Means("show a traceback beside every error", only_env=True)] = False
    crash_at: Annotated[
        Text | None, Means("POINT or POINT:NTH to die at", only_env=True, for_tests=True)
    ] = None
    crash_all: Annotated[
        Text | None, Means("tests every crash point", only_env=True, for_tests=True)
    ] = None
    crash_seed: Annotated[
        Text | None, Means("which system calls fail", only_env=True, for_tests=True)
    ] = None
    stub: Annotated[
        Text | None, Means("a server to measure against", only_env=True, for_tests=True)
    ] = None
