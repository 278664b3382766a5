"""The process that renders Jinja templates, one row at a time, within limits of time and memory.

A template is a program. It runs in Jinja's sandbox, which keeps it away from
Python's insides, from files and from other templates; but the sandbox has no
notion of cost, and `'x' * 10**9` or a few nested loops are all it takes to eat
the memory or the evening of whoever renders them. So it runs here, where that
ends a process that nobody misses.

Per row there are two clocks, both of CPU time, since a template cannot wait for
anything. The first raises an exception, which ends the row. Native code, such
as the power of two large integers, hears no exception: then the second clock
has the kernel end the process, and the owner starts another. Memory is bounded
for the process as a whole; after a row that hit the bound it ends itself, since
what is left of its memory may be in pieces.

Rendering has to give the same text whenever it happens, for a chunk may be
opened again after a crash: what rolls dice is taken out of the environment.

Imported by nobody; started by `jinja_template`.
"""

import contextlib
import json
import re
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import jinja2
import msgspec
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nightkiln.tables.jinja_messages import (
    Batch,
    Broken,
    Compile,
    Compiled,
    Failed,
    Name,
    Rendered,
    ToChild,
    receive,
    send,
)

ROW_S: Final = 1.0  # CPU time of a row before it is given up
COMPILE_S: Final = 10.0  # and of the template itself
_DEADLY: Final = 2.0  # times that, and the process is ended, for what hears nothing
MEMORY_BYTES: Final = 512 << 20
OUTPUT_BYTES: Final = 4 << 20
IDLE_S: Final = 300.0  # without work, before the process ends; its owner starts another
_TELL_S: Final = 0.02  # between replies
_TELL_BYTES: Final = 1 << 18
_GUARDS: Final = frozenset({"default", "d", "defined", "undefined"})
_DICT: Final = frozenset(dir(dict))
_FAILURES: Final = (
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,  # RecursionError among them
    TypeError,
    ValueError,  # undecodable rows among them
)


class TooLong(BaseException):
    """The row's time is over. No handler of Jinja's catches it."""


class TooLarge(Exception):
    """The row's text is longer than any prompt."""


class Number(float):
    """A number of a row, which prints with the digits it came with."""

    _text: str

    def __new__(cls, text: str) -> Self:
        """The number that a JSON text says."""
        self = super().__new__(cls, text)
        self._text = text
        return self

    def __str__(self) -> str:
        return self._text


def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox: no loader, no escaping, no dice; what is undefined is an error."""
    made = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
        optimized=False,  # constants are worked out per row, where the limits hold
    )
    made.globals.pop("lipsum")
    made.filters.pop("random")
    made.filters["tojson"] = _to_json
    return made


@jinja2.pass_eval_context  # else constants would be printed while the template is compiled
def _printed(_: nodes.EvalContext, value: Any) -> Any:
    """What `{{ }}` puts into the text: the same as `{column}` in --prompt."""
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is; Jinja's own filter writes it for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


# -- the template


def compiled(text: str) -> tuple[Compiled, jinja2.Template] | Broken:
    """A template and the names it needs, or what is wrong with it."""
    made = environment()
    try:
        tree = made.parse(text)
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            return Broken("a template cannot read other templates", node.lineno)
        names = tuple(_names(tree, _free_names(made, tree)))
        return Compiled(names), made.from_string(text)
    except jinja2.TemplateSyntaxError as problem:
        return Broken(problem.message or "it cannot be read", problem.lineno)
    except (RecursionError, SyntaxError, MemoryError, OverflowError, ValueError):
        return Broken("it is nested too deeply", 0)
    except TooLong:
        return Broken("it takes too long to read", 0)


def _free_names(made: jinja2.Environment, tree: nodes.Template) -> set[str]:
    """The names that a template takes from its row, as `meta.find_undeclared_variables` does.

    That function works out constants on the way, and so would never end on some.
    """
    generator = meta.TrackingCodeGenerator(made)
    generator.optimizer = None
    generator.visit(tree)
    return generator.undeclared_identifiers - set(made.globals)


def _names(tree: nodes.Template, free: set[str]) -> Iterator[Name]:
    """The columns that rows have to have, but for those whose absence is provided for."""
    guarded = {
        id(node.node)
        for node in tree.find_all((nodes.Filter, nodes.Test))
        if node.name in _GUARDS and node.node is not None
    }
    provided = {node.name for node in tree.find_all(nodes.Name) if id(node) in guarded}
    seen: set[str] = set()
    for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem)):
        name = _column(node, free)
        if name is not None and name not in seen | provided and id(node) not in guarded:
            seen.add(name)
            yield Name(name, node.lineno)


def _column(node: nodes.Node, free: set[str]) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.name in free and node.name != "row" else None
    if not isinstance(node, (nodes.Getattr, nodes.Getitem)):
        return None
    if not (isinstance(node.node, nodes.Name) and node.node.name == "row" and "row" in free):
        return None
    if isinstance(node, nodes.Getattr):
        return None if node.attr in _DICT else node.attr
    key = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return key if isinstance(key, str) else None


# -- rows

_decode_line: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Number).decode
_decode_values: Final = msgspec.json.Decoder(list[Any], float_hook=Number).decode


class Rows:
    """Renders rows of one template and tells them as they come."""

    def __init__(self, template: jinja2.Template, tell: Callable[[Rendered], None]) -> None:
        self._template = template
        self._tell = tell
        self._done: list[bytes | Failed] = []
        self._bytes = 0
        self._told_at = 0.0

    def render(self, batch: Batch) -> bool:
        """Render and tell a batch. False when this process should end."""
        is_fit = True
        self._told_at = time.monotonic()
        for given in batch.rows:
            now = time.monotonic()
            if batch.careful or now - self._told_at > _TELL_S or self._bytes > _TELL_BYTES:
                self.flush()
            result = self._row(given, batch.columns)
            self._done.append(result)
            self._bytes += len(result) if isinstance(result, bytes) else 0
            if isinstance(result, Failed) and result.unfit:
                is_fit = False
                break
        _stop_clocks()
        self.flush()
        return is_fit

    def flush(self) -> None:
        """Tell what is rendered."""
        if self._done:
            self._tell(Rendered(self._done))
        self._done, self._bytes, self._told_at = [], 0, time.monotonic()

    def _row(self, given: bytes, columns: tuple[str, ...]) -> bytes | Failed:
        values: dict[str, Any] = {}
        try:
            _start_clocks(ROW_S)
            if columns:
                values = dict(zip(columns, _decode_values(given), strict=True))
            else:
                values = _decode_line(given)
            return self._text({**values, "row": values})
        except TooLong:
            return Failed(f"took more than {ROW_S:g} s", 0, late=True)
        except TooLarge:
            return Failed(f"made a text of more than {OUTPUT_BYTES >> 20} MB", 0)
        except MemoryError:
            return Failed("needs too much memory", 0, unfit=True)
        except _FAILURES as problem:
            return Failed(_words(problem, values), _line(problem))

    def _text(self, values: dict[str, Any]) -> bytes:
        pieces, size = [], 0
        for piece in self._template.root_render_func(self._template.new_context(values)):
            size += len(piece)
            if size > OUTPUT_BYTES:
                raise TooLarge
            pieces.append(piece)
        text = "".join(pieces).encode()
        if len(text) > OUTPUT_BYTES:
            raise TooLarge
        return text


def _words(problem: Exception, values: dict[str, Any]) -> str:
    """What went wrong, with a guess at the name that was meant."""
    said = str(problem) or type(problem).__name__
    if isinstance(problem, jinja2.UndefinedError):
        import difflib

        quoted = re.findall(r"'([^']*)'", said)
        near = difflib.get_close_matches(quoted[-1], values, n=1) if quoted else []
        return f'{said}; did you mean "{near[0]}"?' if near else said
    return said


def _line(problem: Exception) -> int:
    """The template's line that was being rendered; 0 when nobody knows."""
    line, trace = 0, problem.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


# -- limits


def _start_clocks(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, _DEADLY * seconds)


def _stop_clocks() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _time_is_over(*_: Any) -> None:
    raise TooLong


def _bound() -> None:
    """What this process may use, and which signals it hears."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the owner drains, and closes the socket
    signal.signal(signal.SIGPROF, _time_is_over)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # not every system has this bound
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(descriptor: int) -> None:
    """Serve at this file descriptor until the other end closes it, or has nothing to do."""
    _bound()
    with (
        socket.socket(fileno=descriptor) as end,
        contextlib.suppress(ConnectionError, TimeoutError),
    ):
        end.settimeout(IDLE_S)
        rows: Rows | None = None
        while (message := receive(end, ToChild)) is not None:
            if isinstance(message, Compile):
                _start_clocks(COMPILE_S)
                made = compiled(message.text)
                _stop_clocks()
                if isinstance(made, Broken):
                    send(end, made)
                    return
                reply, template = made
                rows = Rows(template, lambda rendered: send(end, rendered))
                send(end, reply)
            elif rows is None or not rows.render(message):
                return
