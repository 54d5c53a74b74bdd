"""docs/reference/errors.md from the package `errors`: the tree of its docstring, what each class says of itself."""

import ast
import inspect
from pathlib import Path
from textwrap import dedent

from sojourn import errors
from tools.pages.attributes import attributes

__all__ = ["render", "tree"]

SOURCE = "src/sojourn/errors"

TOP = f"""\
<!-- Made by `make pages` from {SOURCE}. -->

# Errors

All of them are in `sojourn.errors`, and importable from `sojourn`. The server, the browser client and the command line
report the same `code`; it does not change within a major version.
"""


def render(root: Path) -> str:
    """Write the page, the classes in the order of the tree."""
    modules = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in (root / SOURCE).glob("*.py")}
    defined = {node.name: node for module in modules.values() for node in module.body if isinstance(node, ast.ClassDef)}
    drawn = tree(ast.get_docstring(modules["__init__"]) or "")
    order = [line.strip("│├└─ ").split()[0] for line in drawn.splitlines()]
    if wrong := {name for name in defined if name.endswith("Error")}.symmetric_difference(order):
        raise ValueError(f"{SOURCE}: the tree in the docstring and the classes differ in {', '.join(sorted(wrong))}")
    entries = (entry(getattr(errors, name)) for name in order)
    return "".join([TOP, "\n```text\n", drawn, "\n```\n", *retries(defined["Retry"]), *entries])


def tree(docstring: str) -> str:
    """The drawing in the module's docstring: its indented part."""
    return dedent("\n".join(line for line in docstring.splitlines() if line.startswith("    ")))


def retries(retry: ast.ClassDef) -> list[str]:
    """What the values of `retry` mean, as the enumeration's docstrings have it."""
    return [
        f"\n### `Retry`\n\n{ast.get_docstring(retry)}\n\n",
        *(f"- `{ast.literal_eval(each.value)}`: {each.doc}\n" for each in attributes(retry.body)),
    ]


def entry(error: type[errors.SojournError]) -> str:
    """One class: its code, what the caller may do, its docstring."""
    facts = f"code `{error.code}` · retry `{error.retry}` · written: {error.written}"
    return f"\n### `{error.__name__}`\n\n{facts}\n\n{inspect.cleandoc(error.__doc__ or '')}\n"
