r"""Grammars for JSON that follows a schema, with bounded white space.

Engines let a model put as much white space between JSON's tokens as it likes,
and small models then fill their whole budget with blanks. So the grammar is
written here: one space after a colon or a comma, none elsewhere. It speaks the
EBNF of xgrammar, and it is the only way in which an engine is held to a schema.

A grammar gives the shape: types, members and their order, choices, lengths,
bounds and patterns. What only narrows that (`uniqueItems`, `multipleOf`, `not`,
`if`, most formats) is left to the check of every finished answer. It says less
than a schema allows in a few places: members that are not named do not appear
beside those that are, a value of any kind is at most three levels deep, and
numbers have at most 15 digits on either side of the point. A schema that refers
to itself is followed five levels deep. It never ends what a schema leaves open: a
model that does not come to the end of a string, list or map is cut off, and said to be.

Whatever follows a grammar is JSON that every reader takes: no number overflows,
and no `\u` names half a character. A schema that nothing fits, or one that says
its shape in a way not known here, raises UnknownSchema.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from nightkiln.backends.engines.json_counts import Counts
from nightkiln.backends.engines.json_merge import Contradiction, is_type, merged, types_of
from nightkiln.backends.engines.json_numbers import DIGITS, bounds_of, integers, numbers
from nightkiln.backends.engines.json_pattern import FORMATS, UnknownPattern, body_of
from nightkiln.backends.engines.json_refs import UnknownReference, found, reached

_BASE: Final = rf"""char ::= [^"\\\x00-\x1f] | "\\" ["\\/bfnrt] | "\\u" code
code ::= [0-9a-cA-CefEF] [0-9a-fA-F]{{3}} | [dD] [0-7] [0-9a-fA-F]{{2}}
name ::= "\"" [^"\\\x00-\x1f]{{1,64}} "\""
integer ::= "0" | "-"? [1-9] [0-9]{{0,{DIGITS - 1}}}
number ::= "-"? ("0" | [1-9] [0-9]{{0,{DIGITS - 1}}}) fraction? ([eE] [-+]? [0-9]{{1,2}})?
fraction ::= "." [0-9]{{1,{DIGITS}}}
boolean ::= "true" | "false"
null ::= "null"
flat ::= "\"" char* "\"" | number | boolean | null
"""
_ANY_DEPTH: Final = 3
_DEEP: Final = 64
_LEVELS: Final = 5
_LARGE: Final = 20_000  # schemas looked into: one that refers to itself twice may unfold for ever
_IMPLIED: Final = {  # the type of a schema that names none
    "object": ("properties", "required", "additionalProperties", "patternProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_NOTES: Final = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$defs", "definitions"}
    | {"$comment", "deprecated", "readOnly", "writeOnly"}
)


class _TooDeep(Contradiction):
    """A reference led back to itself too often."""


class UnknownSchema(ValueError):
    """Nothing fits the schema, or these grammars cannot say its shape."""


def grammar_of(schema: str) -> str:
    """The grammar of JSON texts that have the schema's shape. Raises UnknownSchema."""
    try:
        return _Rules(msgspec.json.decode(schema)).text()
    except (Contradiction, UnknownReference) as problem:
        raise UnknownSchema(str(problem)) from problem
    except (TypeError, AttributeError, RecursionError, OverflowError) as problem:
        raise UnknownSchema("it is no JSON schema") from problem  # nobody validated it before


class _Rules:
    """The rules of one schema, named as they are found."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: list[str] = []
        self._counts = Counts(self._rule)
        self._named: dict[tuple[str, int], str | None] = {}  # $ref and level to rule
        self._depth = self._seen = 0
        self._any: str | None = None
        self._level = 0  # of references that lead back to themselves
        self._words: dict[str, Callable[[dict[str, Any]], str]] = {
            "$ref": self._referred,
            "allOf": self._all_of,
            "const": self._literals,
            "enum": self._literals,
            "anyOf": self._any_of,
            "oneOf": self._any_of,
        }
        self._kinds = {
            "string": self._string,
            "array": self._array,
            "object": self._object,
            "integer": self._number,
            "number": self._number,
            "boolean": self._word,
            "null": self._word,
        }

    def text(self) -> str:
        """The whole grammar."""
        root = self._of(self._schema)
        return f"root ::= {root}\n" + "".join(f"{rule}\n" for rule in self._rules) + _BASE

    def _rule(self, right: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name} ::= {right}")
        return name

    def _of(self, schema: Any) -> str:
        if schema is True:
            return self._anything()
        if not isinstance(schema, dict):
            raise Contradiction(f"nothing fits a schema that is {schema!r}")
        self._depth, self._seen = self._depth + 1, self._seen + 1
        if self._depth > _DEEP or self._seen > _LARGE:
            raise UnknownSchema("it nests too deeply")
        try:
            return self._plain(schema)
        finally:
            self._depth -= 1

    def _plain(self, schema: dict[str, Any]) -> str:
        for word in ("$dynamicRef", "$recursiveRef"):
            if word in schema:
                raise UnknownSchema(f"{word} is not known here")
        for word, make in self._words.items():
            if word in schema:
                return make(schema)
        kinds = types_of(schema)
        if not kinds:
            kinds = [kind for kind, words in _IMPLIED.items() if schema.keys() & set(words)][:1]
        if not kinds:
            return self._anything()
        if len(kinds) > 1:
            return self._either([{**schema, "type": kind} for kind in kinds])
        if kinds[0] not in self._kinds:
            raise UnknownSchema(f"the type {kinds[0]!r} is not known here")
        return self._kinds[kinds[0]](schema)

    # -- choices and references

    def _literals(self, schema: dict[str, Any]) -> str:
        """The values of `const` or `enum` that are of a type that is said beside them."""
        values = [schema["const"]] if "const" in schema else schema["enum"]
        if "const" in schema and "enum" in schema and schema["const"] not in schema["enum"]:
            values = []
        kinds = types_of(schema)
        fitting = [v for v in values if not kinds or any(is_type(v, kind) for kind in kinds)]
        if not fitting:
            raise Contradiction("nothing fits an enum without a value of its type")
        return self._choice([_literal(value) for value in fitting])

    def _any_of(self, schema: dict[str, Any]) -> str:
        word = "anyOf" if "anyOf" in schema else "oneOf"
        rest = {name: value for name, value in schema.items() if name != word}
        return self._either([self._with(rest, inner) for inner in schema[word]])

    def _either(self, schemas: list[Any]) -> str:
        """A choice of those schemas that something fits."""
        choices, problem = [], None
        for schema in schemas:
            try:
                choices.append(self._of(schema))
            except Contradiction as why:
                problem = why
        if not choices:
            raise problem or Contradiction("nothing fits a choice of nothing")
        return self._choice(choices)

    def _choice(self, choices: list[str]) -> str:
        return self._rule(" | ".join(dict.fromkeys(choices)))

    def _all_of(self, schema: dict[str, Any]) -> str:
        whole: Any = {name: value for name, value in schema.items() if name != "allOf"}
        for inner in schema["allOf"]:
            whole = self._with(whole, inner)
        return self._of(whole)

    def _with(self, schema: dict[str, Any], inner: Any) -> Any:
        """A schema and another one that has to hold as well."""
        if inner is True or not isinstance(inner, dict):
            return schema if inner is True else inner
        if not schema.keys() - _NOTES:
            return inner
        for _ in range(_DEEP):
            if "$ref" in inner:
                rest = {name: value for name, value in inner.items() if name != "$ref"}
                inner = merged(found(self._schema, inner["$ref"]), rest)
            elif "$ref" in schema:
                rest = {name: value for name, value in schema.items() if name != "$ref"}
                schema = merged(found(self._schema, schema["$ref"]), rest)
            else:
                return merged(inner, schema) if "anyOf" in inner else merged(schema, inner)
        raise UnknownSchema("references that lead to themselves")

    def _referred(self, schema: dict[str, Any]) -> str:
        place = schema["$ref"]
        if any(word not in _NOTES for word in schema if word != "$ref"):
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            return self._of(self._with(rest, {"$ref": place}))
        key = (place, self._level)
        if key not in self._named:
            self._named[key] = self._unfolded(place)
        name = self._named[key]
        if name is None:
            raise _TooDeep(f"nothing that ends fits the reference {place!r}")
        return name

    def _unfolded(self, place: str) -> str | None:
        """The rule of what a reference leads to; None where that would never end.

        One that leads back to itself is unfolded a few times, and then what may
        be left out is left out: a model would nest it until its budget is used up.
        """
        part, level = found(self._schema, place), self._level
        self._level += place in reached(self._schema, part)
        try:
            return None if self._level > _LEVELS else self._rule(self._of(part))
        except _TooDeep:
            return None
        finally:
            self._level = level

    # -- kinds of values

    def _anything(self) -> str:
        """Any value, of few levels: a model lost in brackets never ends."""
        if self._any is None:
            level = "flat"
            for _ in range(_ANY_DEPTH):
                array = f'"[" ({level} (", " {level})*)? "]"'
                level = self._rule(f"flat | {array} | {self._entries('name', level, 0, None)}")
            self._any = level
        return self._any

    def _word(self, schema: dict[str, Any]) -> str:
        return types_of(schema)[0]

    def _string(self, schema: dict[str, Any]) -> str:
        least, most = _limits(schema, "Length")
        pattern = schema.get("pattern", FORMATS.get(schema.get("format", "")))
        if pattern is not None:
            try:
                return self._rule(f'"\\"" {body_of(pattern, self._counts)} "\\""')
            except UnknownPattern as problem:
                raise UnknownSchema(f"pattern {pattern!r}: {problem}") from problem
        return self._rule(rf'"\"" {self._counts.times("char", least, most)} "\""')

    def _number(self, schema: dict[str, Any]) -> str:
        kind = "integer" if "integer" in types_of(schema) else "number"
        bounds = bounds_of(schema)
        if bounds is None:
            return kind
        choices = integers(bounds) if kind == "integer" else numbers(bounds)
        if choices is None:
            raise Contradiction(f"no {kind} of {DIGITS} digits lies between its bounds")
        return self._rule(choices)

    def _array(self, schema: dict[str, Any]) -> str:
        least, most = _limits(schema, "Items")
        first, items = schema.get("prefixItems", []), schema.get("items")
        if isinstance(items, list):  # as prefixItems was written once
            first, items = items, schema.get("additionalItems")
        first = first[:most]
        if items is None:
            items = not first or least > len(first)
        return self._rule(self._elements([self._of(one) for one in first], items, least, most))

    def _elements(self, first: list[str], items: Any, least: int, most: int | None) -> str:
        """The elements in brackets: `first` by place, then `items`."""
        more = (None if most is None else most - len(first)) if items is not False else 0
        need = max(least - len(first), 0)
        if more is not None and need > more:
            raise Contradiction("nothing fits an array that is longer than it may be")
        item = None if more == 0 else self._unless_deep(items, is_needed=need > 0)
        following = None if item is None else f'(", " {item})'
        rest = '""' if following is None else self._counts.times(following, need, more)
        for place in range(len(first) - 1, 0, -1):
            after = f'", " {first[place]} {rest}'
            rest = self._rule(after if place < least else f'{after} | ""')
        if first:
            inner = f"{first[0]} {rest}"
        elif following is None:
            return '"[]"'
        else:
            others = self._counts.times(following, max(need - 1, 0), more and more - 1)
            inner = f"{item} {others}"
        return f'"[" {inner} "]"' if least else f'"[]" | "[" {inner} "]"'

    def _unless_deep(self, schema: Any, *, is_needed: bool) -> str | None:
        """The rule of what may be left out where it leads back to itself too often."""
        try:
            return self._of(schema)
        except _TooDeep:
            if is_needed:
                raise
            return None

    def _object(self, schema: dict[str, Any]) -> str:
        properties = dict(schema.get("properties", {}))
        others = schema.get("additionalProperties", True)
        needed = schema.get("required", [])
        for name in needed:
            if name not in properties:
                properties[name] = others
        members = []
        for name, inner in properties.items():
            if inner is False and name not in needed:
                continue  # one that may not be there
            value = self._unless_deep(inner, is_needed=name in needed)
            if value is not None:
                members.append((f'{_literal(name)} ": " {value}', name in needed))
        if members or ("properties" in schema and not isinstance(others, dict)):
            return self._rule(f'"{{" {self._members(members)} "}}"')
        return self._map(schema, others)

    def _map(self, schema: dict[str, Any], others: Any) -> str:
        """An object of which no member is named."""
        least, most = _limits(schema, "Properties")
        kinds = [
            (self._string({"pattern": pattern}), self._of(inner))
            for pattern, inner in schema.get("patternProperties", {}).items()
            if inner is not False
        ]
        names = schema.get("propertyNames", True)
        if others is not False and not kinds:
            name = self._of({"type": "string", **names}) if isinstance(names, dict) else "name"
            value = self._unless_deep(others, is_needed=least > 0)
            kinds = [] if value is None else [(name, value)]
        if not kinds:
            return '"{}"'
        choices = [self._entries(name, value, least, most) for name, value in kinds]
        return self._rule(" | ".join(choices))

    def _entries(self, name: str, value: str, least: int, most: int | None) -> str:
        """Members of which each has any of these names and values."""
        if most == 0:
            return '"{}"'
        member = f'{name} ": " {value}'
        more = self._counts.times(f'(", " {member})', max(least - 1, 0), most and most - 1)
        return f'"{{" ({member} {more}){"" if least else "?"} "}}"'

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """Members in their order; those that are not required may be left out.

        `rest[n]` is what may follow once something stands before member n, and
        `first[n]` what may stand from n on while nothing does.
        """
        rest, first = '""', '""'
        for member, is_needed in reversed(members):
            after = rest
            rest = self._rule(f'", " {member} {after}' + ("" if is_needed else f" | {after}"))
            first = self._rule(f"{member} {after}" + ("" if is_needed else f" | {first}"))
        return first


def _limits(schema: dict[str, Any], what: str) -> tuple[int, int | None]:
    """How many of something: 4.0 of a schema is 4. Raises Contradiction."""
    least, most = int(schema.get(f"min{what}", 0)), schema.get(f"max{what}")
    most = None if most is None else int(most)
    if most is not None and least > most:
        raise Contradiction(f"nothing fits min{what} {least} and max{what} {most}")
    return least, most


def _literal(value: Any) -> str:
    """A value's JSON text as a terminal of the grammar."""
    text = msgspec.json.encode(value).decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
