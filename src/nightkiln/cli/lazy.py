"""Groups that know their commands by name and load one only when it is called.

Help lists commands from a table, so it costs the same however many verbs there
are and whatever they import.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import ClassVar

import click
import msgspec


class Verb(msgspec.Struct, frozen=True):
    """A command that is not loaded yet."""

    target: str  # module:attribute
    help: str  # one line for the group's own help


class LazyGroup(click.Group):
    """A group whose commands are in a table. Never imports one to list it."""

    verbs: ClassVar[Mapping[str, Verb]] = {}  # set by `holding`

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return [*self.verbs, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        verb = self.verbs.get(cmd_name)
        if verb is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = verb.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as the help's list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in self.verbs.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name for one that is not there."""
        name = args[0]
        if name not in self.verbs and not name.startswith("-"):
            ctx.fail(f"There is no command {name!r}.{_near(name, list(self.verbs))}")
        return super().resolve_command(ctx, args)


def holding(**verbs: Verb) -> type[LazyGroup]:
    """A class of group that holds these commands."""
    return type("HoldingGroup", (LazyGroup,), {"verbs": verbs, "__doc__": LazyGroup.__doc__})


def _near(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1)
    return f" Did you mean {found[0]!r}?" if found else f" There are: {', '.join(known)}."
