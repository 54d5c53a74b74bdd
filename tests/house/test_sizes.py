"""The house keeps rooms a reader can hold in the head."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "sojourn"
MODULES = sorted(SOURCE.rglob("*.py"))
MODULE_LINES = 600
FUNCTION_LINES = 70
NAMELESS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}


def test_no_module_is_too_long() -> None:
    """Proves that every module has at most 600 lines."""
    sizes = {str(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: size for name, size in sizes.items() if size > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    """Proves that every function has at most 70 lines, decorators and docstring included."""
    too_long = [
        f"{module}:{node.lineno} {node.name}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) > FUNCTION_LINES
    ]
    assert too_long == []


def test_every_module_has_a_name_of_its_own() -> None:
    """Proves that no module or folder is called by a word that says nothing."""
    assert [str(path) for path in SOURCE.rglob("*") if path.stem in NAMELESS] == []


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the first decorator to the last line."""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return (function.end_lineno or first) - first + 1
