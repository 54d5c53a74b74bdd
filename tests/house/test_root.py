"""The names of the package itself."""

import ast
import inspect
from importlib import import_module

import sojourn


def test_each_name_is_what_type_checkers_take_it_for() -> None:
    """Proves that the lazy imports and those that type checkers read are the same, name by name."""
    blocks = [part for part in ast.parse(inspect.getsource(sojourn)).body if isinstance(part, ast.If)]
    imports = [part for block in blocks for part in block.body if isinstance(part, ast.ImportFrom)]
    told = {alias.name: str(part.module) for part in imports for alias in part.names}
    assert sorted(told) == sojourn.__all__
    for name, module in told.items():
        assert getattr(sojourn, name) is getattr(import_module(module), name)
