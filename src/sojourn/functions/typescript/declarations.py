"""The types that have a name: each is declared once, and no two share one.

A type with optional fields has two forms. As a result it has all of them, as an argument they may be left out. Where
the two differ and both are needed, the form for arguments has a name of its own.

Names are given when all is known. Until then a mark stands for a name, in every text that is written here.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Final, NamedTuple

__all__ = ["Declarations", "Property", "Way", "alias", "array", "comment", "either", "interface", "literal"]

_MARK: Final = re.compile("\0(\\d+)\0")
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")

_TAKEN: Final = frozenset({
    *("Action", "Api", "Mutation", "Query", "Record"),  # which the file itself uses
    *("any", "bigint", "boolean", "never", "null", "number", "object", "string", "symbol", "undefined", "unknown"),
    *("case", "catch", "const", "debugger", "default", "delete", "do", "enum", "export", "extends", "false"),
    *("function", "implements", "instanceof", "interface", "let", "new", "package", "private", "protected", "public"),
    *("static", "super", "switch", "this", "throw", "true", "typeof", "var", "void"),
})  # fmt: skip
"""What no type of an application can be called. Python's own keywords cannot be the name of a class anyway."""


class Way(Enum):
    """Which way a value goes."""

    ARGUMENT = "argument"
    RESULT = "result"


class _Declared(NamedTuple):
    """One form of one type: its name, the longer name where others have that too, and what declares it."""

    key: Hashable
    way: Way
    name: str
    path: str
    text: str


class Declarations:
    """The named types of one file."""

    def __init__(self) -> None:
        self._places: dict[tuple[Hashable, Way], int] = {}
        self._declared: dict[int, _Declared] = {}

    def mark(self, key: Hashable, way: Way, *, name: str, path: str, declare: Callable[[str], str]) -> str:
        """Return what stands for a type's name until it is known; of a type that is new, its declaration is made."""
        place = self._places.get((key, way))
        if place is not None:
            return _mark(place)
        self._places[key, way] = place = len(self._places)
        self._declared[place] = _Declared(key, way, name, re.sub(r"\W+", "_", path), declare(_mark(place)))
        return _mark(place)

    def named(self) -> tuple[list[str], Callable[[str], str]]:
        """Return the declarations in the order of their names, and what puts the names into a text with marks."""
        names = self._names()

        def put(text: str) -> str:
            return _MARK.sub(lambda mark: names[int(mark[1])], text)

        texts = {names[place]: put(one.text) for place, one in self._declared.items()}
        return [texts[name] for name in sorted(texts)], put

    def _names(self) -> dict[int, str]:
        parted = self._parted()
        wanted = defaultdict[str, dict[tuple[Hashable, bool], list[int]]](dict)
        for place, one in self._declared.items():
            is_input = one.key in parted and one.way is Way.ARGUMENT
            form = wanted[one.name + "Input" * is_input].setdefault((one.key, is_input), [])
            form.append(place)
        names, taken = dict[int, str](), {*_TAKEN, *wanted}
        for name, forms in wanted.items():
            for (_, is_input), places in forms.items():
                given = name
                if len(forms) > 1 or name in _TAKEN:
                    given = _free(self._declared[places[0]].path + "Input" * is_input, taken)
                taken.add(given)
                names.update(dict.fromkeys(places, given))
        return names

    def _parted(self) -> set[Hashable]:
        """Return the types whose form for arguments is not that for results, be it by a type within them."""
        places = self._places
        both = {key for key, way in places if way is Way.ARGUMENT and (key, Way.RESULT) in places}
        texts = {pair: self._declared[place].text for pair, place in places.items()}
        whole = {pair: _MARK.sub(lambda mark: f"\0{self._keys(mark[1])}\0", text) for pair, text in texts.items()}
        parted = {key for key in both if whole[key, Way.ARGUMENT] != whole[key, Way.RESULT]}
        while more := {key for key in both - parted if parted & self._within(texts[key, Way.ARGUMENT])}:
            parted |= more
        return parted

    def _keys(self, place: str) -> int:
        """Return one number for all forms of a type."""
        key = self._declared[int(place)].key
        return min(self._places[key, way] for way in Way if (key, way) in self._places)

    def _within(self, text: str) -> set[Hashable]:
        return {self._declared[int(place)].key for place in _MARK.findall(text)}


def _mark(place: int) -> str:
    return f"\0{place}\0"


def _free(name: str, taken: set[str]) -> str:
    tries = (name if number == 1 else f"{name}_{number}" for number in range(1, len(taken) + 2))
    return next(one for one in tries if one not in taken)


class Property(NamedTuple):
    """A field of an object, or a place of a tuple."""

    name: str
    type: str
    is_optional: bool = False
    doc: str = ""

    @property
    def written(self) -> str:
        """It as it stands in an object."""
        name = self.name if _IDENTIFIER.fullmatch(self.name) else literal(self.name)
        return f"{name}{'?' * self.is_optional}: {self.type}"


def interface(name: str, fields: Iterable[Property], doc: str) -> str:
    """Return the declaration of an object."""
    lines = (f"{comment(one.doc, '  ')}  readonly {one.written};\n" for one in fields)
    return f"{comment(doc)}export interface {name} {{\n{''.join(lines)}}}\n"


def alias(name: str, type_: str, doc: str) -> str:
    """Return the declaration of anything else."""
    return f"{comment(doc)}export type {name} = {type_};\n"


def array(item: str) -> str:
    """Return the type of a list. Of a result all who watch it have the same one, so nobody may change it."""
    return f"readonly ({item})[]" if " " in item else f"readonly {item}[]"


def either(types: Iterable[str]) -> str:
    """Return a union; what says the same twice is said once."""
    return " | ".join(dict.fromkeys(types)) or "never"


def literal(value: object) -> str:
    """Return a value as the type that has no other."""
    return json.dumps(value, ensure_ascii=False)


def comment(doc: str, indent: str = "") -> str:
    """Return a docstring as a comment before what it is about, or nothing for none."""
    lines = inspect.cleandoc(doc).replace("*/", "*\\/").replace("\0", "").splitlines()
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
    return f"{indent}/**\n{body}{indent} */\n"
