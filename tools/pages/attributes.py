"""Reads documented assignments: a name, its value, and the docstring on the line after."""

import ast
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Attribute", "attributes"]


class Attribute(NamedTuple):
    """One assignment; `doc` is empty where no docstring follows."""

    name: str
    value: ast.expr
    doc: str
    line: int


def attributes(body: Iterable[ast.stmt]) -> Iterator[Attribute]:
    """Walk the public assignments of a module or class, in order."""
    for statement, following in pairwise([*body, ast.Pass()]):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if not name.startswith("_"):
                pass
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str() as doc)):
                yield Attribute(name, value, " ".join(doc.split()), statement.lineno)
            case _:
                yield Attribute(name, value, "", statement.lineno)
