"""What a module offers is written down, in order."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from tools.pages.packages import offered, parse

SOURCE = Path(__file__).parents[2] / "src"
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_all_is_sorted_and_true(file: Path) -> None:
    """Proves that `__all__` is a literal, sorted as sorted() does it, and names only what exists."""
    names = offered(parse(file)) or []
    assert names == sorted(set(names))
    module = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    assert [name for name in names if not hasattr(import_module(module), name)] == []


def test_packages_say_what_they_offer() -> None:
    """Proves that an `__init__.py` has an `__all__`, if it does more than hand on whole modules."""
    packages = {file: parse(file) for file in MODULES if file.stem == "__init__"}
    assert [
        str(file)
        for file, module in packages.items()
        if offered(module) is None and not all(map(hands_on, module.body[1:]))
    ] == []


def hands_on(statement: ast.stmt) -> bool:
    """Whether a statement offers all that another module has, or goes through all that, to call it this one's own."""
    if isinstance(statement, ast.For):
        return ast.unparse(statement.iter) == "[*vars().values()]"
    return isinstance(statement, ast.ImportFrom) and [alias.name for alias in statement.names] == ["*"]
