"""Writes the pages of docs/ that are made from the code: settings, command line, library.

    python -m tools.generate_docs              every page
    python -m tools.generate_docs config cli   these
    python -m tools.generate_docs --check      write nothing; 1 when a page is stale

The same code makes the same bytes on every machine. Nothing here lists a
setting, a command or an option: the table of settings and click are asked.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from nightkiln.config import Values, dotted, fields_of, variable
from nightkiln.config.fields import Field
from tools.sdk_reference import sdk_page

ROOT: Final = Path(__file__).resolve().parents[1]
MADE_BY: Final = "<!-- Made by tools/generate_docs.py from the code; edit that instead. -->"
WIDTH: Final = 100

EXAMPLE: Final = """\
# ~/.config/nightkiln/nightkiln.toml, or nightkiln.toml in a project
concurrency = 128
gpu_hour_usd = 2.5

[engine]
kv_cache_gb = 4

[endpoints.team]                         # nightkiln run … --endpoint team
url = "https://llm.example.com/v1"
key = "env:TEAM_LLM_KEY"                 # where the key is, never the key
headers = { X-Team = "night", api-key = "file:~/keys/gateway" }
models = ["large-8b", "small-1b"]        # nightkiln run … --model large-8b
concurrency = 256

[endpoints.team.prices."large-8b"]       # dollars per million tokens, at this endpoint only
input = 0.10
output = 0.30

[models.judge]                           # nightkiln run … --model judge
endpoint = "team"
model = "large-8b"
temperature = 0
max_tokens = 8
params = { top_p = 0.9 }

[models.mine]
file = "models/mine.gguf"                # beside this file

[prices."gpt-4.1-mini"]                  # what you pay, where the list price is not it
input = 0.30
output = 1.20
cached = 0.08
"""

CONFIG_PAGE: Final = """\
# Settings

{made_by}

A setting is taken from the first of these that says it:

1. a flag of the command, or an argument of the Python call;
2. a variable of the environment, `NIGHTKILN_` and the setting's name in capitals;
3. the project's `nightkiln.toml`: the nearest one from the current folder upwards, no further than
   your home;
4. your own `$XDG_CONFIG_HOME/nightkiln/nightkiln.toml`, which is
   `~/.config/nightkiln/nightkiln.toml` unless you moved it;
5. what is built in.

`nightkiln config show` lists every setting with its value and where it came from,
`nightkiln config path` the files that are read, and `nightkiln config check FILE` looks for
mistakes in a file. A name that nobody knows, a value of the wrong type, and an unknown variable
`NIGHTKILN_…` are errors that name the place and the nearest known name. An empty variable says
nothing. Variables that end in `_KEY` are yours: they may hold secrets that a reference names.

Relative paths in a file begin at the folder of that file, `~` is your home. Names with a dot or a
blank in them stand in quotes, as TOML wants it.

<!-- file: nightkiln.toml -->
```toml
{example}```

```console
$ nightkiln config check nightkiln.toml
…
```

## On their own

{settings}

The variable of a setting in a section has the section's name in it, as
`NIGHTKILN_ENGINE_KV_CACHE_GB` has.

{sections}
## Names, and where the prompts go

- `--endpoint NAME` is the endpoint of that name. It needs a `--model`, unless it lists exactly one.
- `--model NAME` is the alias of that name; else, without `--endpoint`, a model of the one endpoint
  that lists it. Two that list it are an error.
- A name that was said for this run outweighs a default from a file; where an endpoint and a model
  do not fit together, the weaker is left out.
- What was said for this run wins over what the file says of an alias or an endpoint, and that over
  the settings on their own.
- The first line of a run says which model answers, where, and why.

An `[endpoints.NAME]`, `[models.NAME]` or `[prices."NAME"]` is taken whole from the project's file
or from yours, never mixed: no project can send your key to an address of its own by overriding the
URL beside it. Still, a project's file decides where prompts go: read it before you run in a folder
that came from somebody else. A file above the current folder that belongs to another user is
refused.

## Secrets

A secret never stands in a file of settings. Write where it is: `env:NAME` for a variable,
`file:PATH` for a file that holds nothing else, or `keyring:SERVICE/USER` for an entry in the
keyring of the system (`pip install "nightkiln[keyring]"`; `keyring set SERVICE USER` puts it
there). A key, a password in a URL, or a header such as `authorization` with its value in place is
refused, and the message does not repeat it.
`nightkiln config show` shows references, and of other headers the names only.
"""

CLI_PAGE: Final = """\
# The command line

{made_by}

What a command prints is its data, on standard output; everything else goes to standard error.
[How a command ends](exit-codes.md) is its exit code, and [the settings](config.md) give
its options their defaults. With `--json` a command prints one JSON object.

{commands}"""


def config_page() -> str:
    """docs/config.md."""
    fields = fields_of(Values).values()
    alone = [
        field for field in fields if not (field.section or field.named or field.means.for_tests)
    ]
    sections = [part for field in fields for part in _section(field.name, field)]
    return CONFIG_PAGE.format(
        made_by=MADE_BY,
        example=EXAMPLE,
        settings=_settings_table("", alone, with_variables=True),
        sections="\n".join(sections),
    )


def _section(name: str, field: Field) -> Iterator[str]:
    kind = field.section or field.named
    if kind is None:
        return
    inner = fields_of(kind)
    title = f"[{name}]" if field.section else f"[{name}.NAME]"
    yield f"## `{title}`\n\n{_first_paragraph(kind.__doc__)}\n"
    alone = [one for one in inner.values() if one.named is None]
    yield _settings_table(name if field.section else "", alone, with_variables=bool(field.section))
    for one in inner.values():
        if one.named is not None:
            text = f"`[{name}.NAME.{one.name}.NAME]` holds {one.means.text}"
            yield f"\n{text}, with the same settings as `[{one.name}.NAME]`."
    yield ""


def _settings_table(under: str, fields: list[Field], *, with_variables: bool) -> str:
    heads = ["setting", "is", "default", "meaning"]
    rows = []
    for field in fields:
        row = [f"`{field.name}`", field.words, field.default_words, field.means.text]
        if field.means.only_env:
            row[0] = "(variable only)"
        if with_variables:
            row.insert(1, f"`{variable(dotted(under, field.name))}`")
        rows.append(row)
    if with_variables:
        heads.insert(1, "variable")
    return _table(heads, rows)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def cli_page() -> str:
    """docs/cli.md."""
    from nightkiln.cli.main import cli

    context = click.Context(cli, info_name="nightkiln", **_context_settings(cli))
    return CLI_PAGE.format(made_by=MADE_BY, commands="\n".join(_commands(context, level=2)))


def _context_settings(command: click.Command) -> dict[str, Any]:
    return {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}


def _commands(context: click.Context, *, level: int) -> Iterator[str]:
    """A command and, under it, those it holds, in the order of its help."""
    command = context.command
    yield f"{'#' * level} `{context.command_path}`\n"
    yield f"    {command.get_usage(context).removeprefix('Usage: ')}\n"
    if command.help:
        yield _text(command.help) + "\n"
    yield from _options(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            below = click.Context(inner, info_name=name, parent=context, **_context_settings(inner))
            yield from _commands(below, level=level + 1)


def _options(context: click.Context) -> Iterator[str]:
    """The options as the help groups them."""
    formatter = _Sections(width=WIDTH)
    context.command.format_options(context, formatter)
    for title, records in formatter.sections:
        if not records or title == "Commands":
            continue
        if title != "Options":
            yield f"{title}:\n"
        yield _table(["option", "meaning"], [[f"`{name}`", text] for name, text in records]) + "\n"


class _Sections(click.HelpFormatter):
    """Keeps what a command would write into its help, by section."""

    def __init__(self, width: int) -> None:
        super().__init__(width=width, max_width=width)
        self.sections: list[tuple[str, list[tuple[str, str]]]] = []

    def write_heading(self, heading: str) -> None:
        """A section begins."""
        self.sections.append((heading, []))

    def write_dl(self, rows: Iterable[tuple[str, str]], *_: int, **__: int) -> None:
        """Its options and what they are for."""
        self.sections[-1][1].extend(rows)


def _text(text: str) -> str:
    """A help text as Markdown: its paragraphs, each on lines of its own."""
    paragraphs = inspect.cleandoc(text).replace("\f", "").split("\n\n")
    return "\n\n".join(paragraph.removeprefix("\b\n") for paragraph in paragraphs)


PAGES: Final[dict[str, tuple[Path, Callable[[], str]]]] = {
    "config": (ROOT / "docs" / "config.md", config_page),
    "cli": (ROOT / "docs" / "cli.md", cli_page),
    "sdk": (ROOT / "docs" / "sdk-reference.md", lambda: sdk_page(MADE_BY)),
}


def stale(names: Sequence[str]) -> list[Path]:
    """The pages among `names` whose file is not what the code makes."""
    return [
        path
        for path, make in (PAGES[name] for name in names)
        if not path.exists() or path.read_text(encoding="utf-8") != make()
    ]


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; the exit code."""
    names = [name for name in arguments if name != "--check"] or list(PAGES)
    if unknown := sorted(set(names) - set(PAGES)):
        print(f"no page {', '.join(unknown)}; there are {', '.join(PAGES)}", file=sys.stderr)
        return 2
    if "--check" in arguments:
        for path in (old := stale(names)):
            print(f"{path.relative_to(ROOT)} is stale: python -m tools.generate_docs")
        return 1 if old else 0
    for path, make in (PAGES[name] for name in names):
        path.write_text(make(), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
