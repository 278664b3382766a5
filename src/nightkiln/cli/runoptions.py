"""The options of `run`, in the groups that its help shows. Declared here, checked in `options`."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from nightkiln.cli.values import CountOrAuto, Moment
from nightkiln.config import Values
from nightkiln.tables.formats import FORMATS, TEXTUAL, WRITTEN

F = TypeVar("F", bound=Callable[..., Any])

_BUILT_IN: Final = Values()
_PACKED: Final = [f"{kind}.{end}" for kind in FORMATS if kind in TEXTUAL for end in ("gz", "zst")]
READ: Final = [*FORMATS, *_PACKED]  # what --format takes
PUT: Final = [*WRITTEN, *(kind for kind in _PACKED if kind.partition(".")[0] in WRITTEN)]
EXCEL_SAFE: Final = click.option(
    "--excel-safe",
    is_flag=True,
    help="Put a ' before texts of CSV and TSV that a spreadsheet would take for formulas.",
)
_COUNT: Final = click.IntRange(min=1)
_POSITIVE: Final = click.FloatRange(min=0, min_open=True)
_OPTIONS_OF_ALL: Final = "Options"


class OptionGroup:
    """Options that belong together; `options` declares them on a command."""

    def __init__(self, title: str, *options: Callable[[Any], Any]) -> None:
        self.title = title
        self._options = options

    def options(self, command: F) -> F:
        """Declare the options, in their order."""
        before = len(_declared(command))
        for option in reversed(self._options):
            command = option(command)
        for parameter in _declared(command)[before:]:
            _TITLES[parameter.opts[0]] = self.title
        return command


_TITLES: Final[dict[str, str]] = {}  # the group of an option by its first name


class RunCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section per group; what has no group comes first."""
        sections: dict[str, list[tuple[str, str]]] = {_OPTIONS_OF_ALL: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                title = _TITLES.get(parameter.opts[0], _OPTIONS_OF_ALL)
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=24)


def _declared(command: Any) -> list[click.Parameter]:
    """What decorators have put on a function so far; click keeps it there."""
    found: list[click.Parameter] = getattr(command, "__click_params__", [])
    return found


MODEL: Final = OptionGroup(
    "The model",
    click.option(
        "--endpoint",
        multiple=True,
        metavar="URL|NAME",
        help="Base URL of an OpenAI-compatible server, or its name in nightkiln.toml; repeatable:"
        " several share the rows.",
    ),
    click.option(
        "--model",
        metavar="NAME",
        help="Its name at the endpoint or in nightkiln.toml; or, to run it here, a GGUF file,"
        " an OpenVINO folder or hf:org/repo[:file].  [default: the pilot]",
    ),
    click.option(
        "--key",
        multiple=True,
        metavar="REF",
        help="Where the API key is: env:NAME, file:PATH or keyring:SERVICE/USER, never the key;"
        " repeatable: several for one endpoint share the rows, for several endpoints one each.",
    ),
    click.option(
        "--header", multiple=True, metavar="K=V", help="Sent with every request; repeatable."
    ),
    click.option(
        "--task",
        type=click.Choice(["chat", "complete", "embed", "respond"]),
        default="chat",
        show_default=True,
        help="Which of the endpoint's routes is asked: chat/completions, completions, embeddings"
        " or responses.",
    ),
    click.option("--max-tokens", type=_COUNT, metavar="N", help="Most tokens of an answer."),
    click.option(
        "--temperature",
        type=float,
        metavar="X",
        help="[default: the endpoint's own; of an engine here 0]",
    ),
    click.option("--schema", metavar="FILE.json", help="A JSON schema that every answer must fit."),
    click.option("--seed", type=int, metavar="N", help="For models that take one."),
    click.option(
        "--param",
        multiple=True,
        metavar="K=JSON",
        help="Any other field of the request; repeatable. What is no JSON is a string.",
    ),
)
PROMPT: Final = OptionGroup(
    "The prompt (one of the first four; a table of one column needs none)",
    click.option("--prompt", metavar="TEMPLATE", help="Text with {column} in it."),
    click.option("--column", multiple=True, metavar="NAME", help="A column; repeatable."),
    click.option(
        "--template",
        metavar="FILE.jinja",
        help="A Jinja template; columns are its names, and row holds them all.",
    ),
    click.option("--messages", metavar="COLUMN", help="A column with JSON lists of messages."),
    click.option(
        "--separator",
        default="\\n",
        show_default=True,
        metavar="S",
        help="Between the values of several --column; knows \\n and \\t.",
    ),
    click.option("--system", metavar="TEXT", help="A system message before every prompt."),
)
CAPS: Final = (  # also said anew when a job goes on
    click.option(
        "--max-cost",
        type=_POSITIVE,
        metavar="USD",
        help="Pause the job before it costs more, requests under way included.",
    ),
    click.option(
        "--max-tokens-total", type=_COUNT, metavar="N", help="The same for its tokens, in and out."
    ),
    click.option(
        "--deadline",
        type=Moment(),
        metavar="TIME",
        help="Ask nothing after it and pause: a span (90m, 2d) or a moment (2026-11-20T06:00).",
    ),
)
PACE: Final = OptionGroup(
    "The pace",
    click.option(
        "--concurrency",
        type=CountOrAuto(),
        metavar="N|auto",
        help="Requests in flight at each backend, at most.  [default: auto, what it turns out to"
        " bear]",
    ),
    click.option(
        "--rpm",
        type=_POSITIVE,
        metavar="N",
        help="Requests a minute.  [default: what the provider's headers and refusals teach]",
    ),
    click.option("--tpm", type=_POSITIVE, metavar="N", help="Tokens a minute, in and out."),
    *CAPS,
    click.option(
        "--kv-cache-gb",
        type=_COUNT,
        metavar="GB",
        help="Memory for sequences, of a model on this machine."
        f"  [default: {_BUILT_IN.engine.kv_cache_gb}]",
    ),
    click.option(
        "--timeout",
        type=_POSITIVE,
        metavar="SECONDS",
        help=f"For one try at a row.  [default: {_BUILT_IN.timeout:g}]",
    ),
    click.option(
        "--wait",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="For a backend that takes no requests; then the job is left paused."
        "  [default: 600; without limit on a terminal]",
    ),
    click.option("--limit", type=_COUNT, metavar="N", help="Take only the first N rows."),
)
REUSE: Final = OptionGroup(
    "Identical rows (temperature 0, a seed, or embeddings; docs/reuse.md)",
    click.option(
        "--dedupe",
        type=click.Choice(["auto", "always", "never"]),
        metavar="auto|always|never",
        help=f"Which of them share one answer and are paid once.  [default: {_BUILT_IN.dedupe}]",
    ),
    click.option(
        "--cache",
        type=click.Choice(["auto", "off", "refresh"]),
        metavar="auto|off|refresh",
        help="Answers of earlier jobs: used and kept, neither, or asked anew and kept."
        f"  [default: {_BUILT_IN.cache}; with --new that is refresh]",
    ),
)
TABLES: Final = OptionGroup(
    "The tables",
    click.option(
        "--format",
        "input_format",
        type=click.Choice(READ),
        metavar="|".join(FORMATS),
        help="Of INPUT; those of text also with .gz or .zst behind.  [default: by its name]",
    ),
    click.option(
        "--output-format",
        type=click.Choice(PUT),
        metavar="|".join(WRITTEN),
        help="Of OUTPUT, likewise.  [default: by its name; of standard output as the input]",
    ),
    click.option("--sheet", metavar="NAME", help="Of a workbook.  [default: the first]"),
    EXCEL_SAFE,
    click.option(
        "--delimiter",
        default=",",
        show_default=True,
        metavar="C",
        help="Between the fields of CSV; a tab is \\t.",
    ),
    click.option("--id-column", metavar="NAME", help="A column whose values are unique ids."),
    click.option(
        "--encoding",
        metavar="NAME",
        help="Of a text input, as in utf-16 or cp1252.  [default: utf-8]",
    ),
    click.option(
        "--on-bad-row",
        type=click.Choice(["error", "fail", "skip"]),
        metavar="error|fail|skip",
        help="A row that cannot be read: gets a fault, fails the job, or is left out of OUTPUT."
        f"  [default: {_BUILT_IN.on_bad_row}]",
    ),
    click.option(
        "--bad-rows",
        metavar="FILE",
        help="Write all rows that cannot be read there, as JSON lines.",
    ),
)
