"""Grammars for JSON that follows a schema, with bounded white space.

Engines let a model put as much white space between JSON's tokens as it likes,
and small models then fill their whole budget with blanks. So the grammar is
written here: one space after a colon or a comma, none elsewhere. It speaks the
EBNF of xgrammar. It knows the common part of JSON Schema and raises
UnknownSchema for the rest; it never ignores what it does not know.
"""

from typing import Any, Final

import msgspec

_NOTES: Final = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$defs", "definitions"}
)
_BASE: Final = r"""char ::= [^"\\\x00-\x1f] | "\\" ["\\/bfnrt] | "\\u" [0-9a-fA-F]{4}
integer ::= "-"? ("0" | [1-9] [0-9]{0,17})
number ::= integer ("." [0-9]{1,17})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
"""
_SIMPLE: Final = ("integer", "number", "boolean", "null")
_DEEP: Final = 32


class UnknownSchema(ValueError):
    """The schema says something that these grammars cannot."""


def grammar_of(schema: str) -> str:
    """The grammar of all JSON texts that follow the schema. Raises UnknownSchema."""
    rules = _Rules(msgspec.json.decode(schema))
    return rules.text()


class _Rules:
    """The rules of one schema, named as they are found."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: list[str] = []
        self._named: dict[str, str] = {}  # $ref to rule
        self._depth = 0
        self._words = {
            "$ref": self._referred,
            "const": self._const,
            "enum": self._enum,
            "anyOf": self._any_of,
            "oneOf": self._any_of,
        }
        self._kinds = {"string": self._string, "array": self._array, "object": self._object}

    def text(self) -> str:
        """The whole grammar."""
        root = self._of(self._schema)
        return f"root ::= {root}\n" + "".join(f"{rule}\n" for rule in self._rules) + _BASE

    def _rule(self, right: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name} ::= {right}")
        return name

    def _of(self, schema: Any) -> str:
        if not isinstance(schema, dict):
            raise UnknownSchema(f"a schema that is {schema!r}")
        self._depth += 1
        if self._depth > _DEEP:
            raise UnknownSchema("a schema that nests too deeply")
        try:
            return self._plain(schema)
        finally:
            self._depth -= 1

    def _plain(self, schema: dict[str, Any]) -> str:
        for word, make in self._words.items():
            if word in schema:
                return make(schema)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._either([self._of({**schema, "type": each}) for each in kind])
        if kind in _SIMPLE:
            _only(schema, "type")
            return str(kind)
        if kind not in self._kinds:
            raise UnknownSchema(f"a schema of type {kind!r}")
        return self._kinds[kind](schema)

    def _const(self, schema: dict[str, Any]) -> str:
        _only(schema, "const", "type")
        return _literal(schema["const"])

    def _enum(self, schema: dict[str, Any]) -> str:
        _only(schema, "enum", "type")
        return self._either([_literal(value) for value in schema["enum"]])

    def _any_of(self, schema: dict[str, Any]) -> str:
        word = "anyOf" if "anyOf" in schema else "oneOf"
        _only(schema, word)
        return self._either([self._of(inner) for inner in schema[word]])

    def _either(self, choices: list[str]) -> str:
        if not choices:
            raise UnknownSchema("a choice of nothing")
        return self._rule(" | ".join(dict.fromkeys(choices)))

    def _referred(self, schema: dict[str, Any]) -> str:
        _only(schema, "$ref")
        place = schema["$ref"]
        if place in self._named:
            return self._named[place]
        if not isinstance(place, str) or not place.startswith("#/"):
            raise UnknownSchema(f"a reference to {place!r}")
        found = self._schema
        for step in place[2:].split("/"):
            if not isinstance(found, dict) or step not in found:
                raise UnknownSchema(f"a reference to {place!r}")
            found = found[step]
        name = self._named[place] = f"n{len(self._named)}"
        self._rules.append(f"{name} ::= {self._of(found)}")
        return name

    def _string(self, schema: dict[str, Any]) -> str:
        _only(schema, "type", "minLength", "maxLength")
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        times = f"{{{least},{'' if most is None else most}}}" if least or most is not None else "*"
        return self._rule(rf'"\"" char{times} "\""')

    def _array(self, schema: dict[str, Any]) -> str:
        _only(schema, "type", "items", "minItems", "maxItems")
        if "items" not in schema:
            raise UnknownSchema("an array of anything")
        item = self._of(schema["items"])
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0:
            return '"[]"'
        bound = "" if most is None else str(most - 1)
        full = self._rule(f'"[" {item} (", " {item}){{{max(least - 1, 0)},{bound}}} "]"')
        return full if least else self._rule(f'"[]" | {full}')

    def _object(self, schema: dict[str, Any]) -> str:
        _only(schema, "type", "properties", "required", "additionalProperties")
        properties = schema.get("properties")
        needed = set(schema.get("required", ()))
        if not properties or not needed <= set(properties):
            raise UnknownSchema("an object whose members are not all named")
        if schema.get("additionalProperties", False) not in (False, True):
            raise UnknownSchema("members of a given kind")
        members = [
            (f'{_literal(name)} ": " {self._of(inner)}', name in needed)
            for name, inner in properties.items()
        ]
        return self._rule(f'"{{" {self._members(members)} "}}"')

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


def _only(schema: dict[str, Any], *known: str) -> None:
    extra = set(schema) - set(known) - _NOTES
    if extra:
        raise UnknownSchema(f"{', '.join(sorted(extra))} is not known here")


def _literal(value: Any) -> str:
    """A value's JSON text as a terminal of the grammar."""
    text = msgspec.json.encode(value).decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
