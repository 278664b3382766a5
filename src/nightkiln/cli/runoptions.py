"""The options of `run`, in the groups that its help shows. Declared here, checked in `options`."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_COUNT: Final = click.IntRange(min=1)
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
    click.option("--endpoint", metavar="URL", help="Base URL of an OpenAI-compatible server."),
    click.option(
        "--model",
        metavar="NAME",
        help="Its name at the endpoint; or, to run it here, a GGUF file, an OpenVINO folder or"
        " hf:org/repo[:file].  [default: the pilot]",
    ),
    click.option(
        "--key", metavar="REF", help="Where the API key is: env:NAME or file:PATH, never the key."
    ),
    click.option(
        "--header", multiple=True, metavar="K=V", help="Sent with every request; repeatable."
    ),
    click.option("--max-tokens", type=_COUNT, metavar="N", help="Most tokens of an answer."),
    click.option("--temperature", type=float, metavar="X", help="[default: the model's own]"),
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
    "The prompt (one of the first three; a table of one column needs none)",
    click.option("--prompt", metavar="TEMPLATE", help="Text with {column} in it."),
    click.option("--column", multiple=True, metavar="NAME", help="A column; repeatable."),
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
PACE: Final = OptionGroup(
    "The pace",
    click.option(
        "--concurrency",
        type=_COUNT,
        metavar="N",
        help="Requests in flight.  [default: 64, or what a model in this process needs]",
    ),
    click.option(
        "--kv-cache-gb",
        type=_COUNT,
        default=1,
        show_default=True,
        metavar="GB",
        help="Memory for sequences, of a model in this process.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600,
        show_default=True,
        metavar="SECONDS",
        help="For one try at a row.",
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
TABLES: Final = OptionGroup(
    "The tables",
    click.option(
        "--format",
        "input_format",
        type=click.Choice(["csv", "jsonl", "text"]),
        metavar="csv|jsonl|text",
        help="Of INPUT.  [default: by its name]",
    ),
    click.option(
        "--output-format",
        type=click.Choice(["csv", "jsonl"]),
        metavar="csv|jsonl",
        help="Of OUTPUT.  [default: by its name; of standard output as the input]",
    ),
    click.option(
        "--delimiter",
        default=",",
        show_default=True,
        metavar="C",
        help="Between the fields of CSV; a tab is \\t.",
    ),
    click.option("--id-column", metavar="NAME", help="A column whose values are unique ids."),
)
