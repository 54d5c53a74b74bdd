"""The file: the functions of an application, each with its arguments and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from sojourn.errors import InvalidError
from sojourn.functions.model import Function, Kind
from sojourn.functions.typescript.annotations import spelled
from sojourn.functions.typescript.declarations import Declarations, Property, Way, comment

__all__ = ["api_of"]

_TOP: Final = "// Made by `sojourn types`; changes are lost.\n"
_TYPES: Final = {Kind.QUERY: "Query", Kind.MUTATION: "Mutation", Kind.ACTION: "Action"}
_WIDTH: Final = 120


def api_of(functions: Iterable[Function[..., Any]]) -> str:
    """Return the text of a module that says what the public ones of these functions take and return.

    It is the same text for the same functions, in whatever order they were registered.

    Raises:
        InvalidError: there is none, or an annotation has no form in JSON.
    """
    public = sorted((one for one in functions if not one.internal), key=lambda one: one.name)
    if not public:
        raise InvalidError("functions", "none of them is public, so there is nothing that a browser could call")
    declarations = Declarations()
    members = [_member(function, declarations) for function in public]
    declared, named = declarations.named()
    kinds = ", ".join(sorted({_TYPES[function.kind] for function in public}))
    doc = comment("What the server's functions take and return, by their names.")
    api = f"{doc}export interface Api {{\n{''.join(member(named) for member in members)}}}\n"
    return "\n".join([_TOP + f'import type {{ {kinds} }} from "sojourn-client";\n', *declared, api])


def _member(function: Function[..., Any], declarations: Declarations) -> Callable[[Callable[[str], str]], str]:
    """Return what writes the function's line, once the types in it have their names."""
    try:
        taken = function.signature.arguments()
        fields = [
            Property(name, spelled(one.kind, Way.ARGUMENT, declarations), not one.is_required)
            for name, one in (taken or {}).items()
        ]
        result = spelled(function.signature.returns, Way.RESULT, declarations)
    except TypeError as error:
        raise InvalidError(function.name, f"its annotations have no form in JSON: {error}") from error
    before = comment(function.handler.__doc__ or "", "  ")

    def written(named: Callable[[str], str]) -> str:
        def line(arguments: str) -> str:
            return f"  {function.name}: {_TYPES[function.kind]}<{arguments}, {named(result)}>;\n"

        if taken is None:  # whatever it is sent
            return before + line("{ [name: string]: unknown }")
        if not fields:
            return before + line("Record<string, never>")
        short = line(f"{{ {'; '.join(named(one.written) for one in fields)} }}")
        if len(short) <= _WIDTH:
            return before + short
        return before + line("{\n" + "".join(f"    {named(one.written)};\n" for one in fields) + "  }")

    return written
