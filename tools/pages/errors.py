"""docs/reference/errors.md from errors.py: the tree of its docstring, and what each class says of itself."""

import ast
import inspect
import runpy
from pathlib import Path
from textwrap import dedent

from sojourn.errors import SojournError
from tools.pages.attributes import attributes

__all__ = ["render", "tree"]

SOURCE = "src/sojourn/errors.py"

TOP = f"""\
<!-- Made by `make pages` from {SOURCE}. -->

# Errors

All of them are in `sojourn.errors`, and importable from `sojourn`. The server, the browser client and the command line
report the same `code`; it does not change within a major version.
"""


def render(root: Path) -> str:
    """Write the page, the classes in the order of the tree."""
    source = root / SOURCE
    module = ast.parse(source.read_text(encoding="utf-8"))
    names = runpy.run_path(str(source))
    drawn = tree(ast.get_docstring(module) or "")
    order = [line.strip("│├└─ ").split()[0] for line in drawn.splitlines()]
    classes = {node.name for node in module.body if isinstance(node, ast.ClassDef) and node.name.endswith("Error")}
    if wrong := classes.symmetric_difference(order):
        raise ValueError(f"{SOURCE}: the tree in the docstring and the classes differ in {', '.join(sorted(wrong))}")
    return "".join([TOP, "\n```text\n", drawn, "\n```\n", *retries(module), *(entry(names[name]) for name in order)])


def tree(docstring: str) -> str:
    """The drawing in the module's docstring: its indented part."""
    return dedent("\n".join(line for line in docstring.splitlines() if line.startswith("    ")))


def retries(module: ast.Module) -> list[str]:
    """What the values of `retry` mean, as the enumeration's docstrings have it."""
    (retry,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Retry")
    return [
        f"\n### `Retry`\n\n{ast.get_docstring(retry)}\n\n",
        *(f"- `{ast.literal_eval(each.value)}`: {each.doc}\n" for each in attributes(retry.body)),
    ]


def entry(error: type[SojournError]) -> str:
    """One class: its code, what the caller may do, its docstring."""
    facts = f"code `{error.code}` · retry `{error.retry}` · written: {error.written}"
    return f"\n### `{error.__name__}`\n\n{facts}\n\n{inspect.cleandoc(error.__doc__ or '')}\n"
