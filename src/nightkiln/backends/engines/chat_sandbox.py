"""Jinja as chat templates know it: Hugging Face's additions, in a sandbox with a budget.

The sandbox keeps a template away from Python's insides, but has no notion of
cost: two nested loops over ranges run for minutes. So every turn of a loop and
every call of a macro is written with a call that counts it. Loops with a
condition count what they look at, since their bodies may never run.

Imported by `chat_template` alone, when there is a template: it needs Jinja.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nightkiln.backends.engines.chat_refusals import Endless, Raised

_TURN: Final = "__turn"
_COUNTED: Final = "__counted"


class Budget:
    """How many more turns a row has. Not for several threads at a time."""

    def __init__(self, left: int) -> None:
        self.left = left

    def turn(self) -> None:
        """Count one. Raises Endless."""
        self.left -= 1
        if self.left < 0:
            raise Endless("it loops without end")

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items, each of which is counted. Raises Endless."""
        for item in items:
            self.turn()
            yield item


class Generation(Extension):
    """`{% generation %}` marks what the model says, which matters to training alone."""

    tags = {"generation"}  # noqa: RUF012 - the base's own form

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body, as if the tag were not there."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compiled(source: str, budget: Budget, now: dt.datetime) -> jinja2.Template:
    """A chat template, ready to render. Raises what Jinja and Python's compiler raise."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, "jinja2.ext.loopcontrols"],
        optimized=False,  # constants are worked out per row, where somebody counts
    )
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = now.strftime
    made.globals[_TURN], made.globals[_COUNTED] = budget.turn, budget.counted
    tree = made.parse(source)
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        assert isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock))
        node.body.insert(0, nodes.ExprStmt(_call(_TURN), lineno=node.lineno))
        if isinstance(node, nodes.For) and node.test is not None:
            node.iter = _call(_COUNTED, cast("nodes.Expr", node.iter))
    tree.set_environment(made)
    return made.from_string(tree)


def _call(name: str, *arguments: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), list(arguments), [], None, None)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is; Jinja's own filter writes it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: object) -> None:
    raise Raised(str(message))
