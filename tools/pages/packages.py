"""docs/reference/<package>.md for each public package: what it offers, in the words of its docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from tools.pages.attributes import attributes

__all__ = ["public", "render"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Defined: TypeAlias = Function | ast.ClassDef

SOURCE = "src/sojourn"
ERRORS = "sojourn.errors"
MODULES = (  # offered as they are, by no package
    "adapters.aiogram",
    "adapters.genkit",
    "adapters.langgraph",
    "adapters.web_forms",
    "telemetry",
    "testing.dialogs",
)

TOP = """\
<!-- Made by `make pages` from the docstrings of {source}. -->

# {package}

{docstring}
"""


def public(root: Path) -> Iterator[str]:
    """Name the packages that offer something: sojourn itself, and each folder in it with names in `__all__`."""
    for file in sorted((root / SOURCE).glob("**/__init__.py")):
        if len(file.relative_to(root / SOURCE).parts) <= 2 and offered(parse(file)):  # noqa: PLR2004  folder and file
            yield ".".join(file.parent.relative_to(root / "src").parts)
    for name in MODULES:
        place = root / SOURCE / name.replace(".", "/")
        if place.is_dir() or place.with_suffix(".py").exists():
            yield f"sojourn.{name}"


def render(root: Path, package: str) -> str:
    """Write the page of one package, its names in order; errors are left to their own page."""
    folder = root / "src" / package.replace(".", "/")
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    module = parse(file)
    homes = imported(module)
    source = (folder if folder.is_dir() else file).relative_to(root).as_posix()
    page = [TOP.format(source=source, package=package, docstring=prose(ast.get_docstring(module)))]
    for name in offered(module) or []:
        home = homes.get(name, package)
        if home == package and any(isinstance(node, Defined) and node.name == name for node in module.body):
            page.extend(entry(name, module, "###"))
        elif home == package:
            page.extend(submodule(name, parse(folder / f"{name}.py")))
        elif home != ERRORS:
            page.extend(elsewhere(root, name, home))
    return "\n".join(page)


def elsewhere(root: Path, name: str, home: str) -> Iterator[str]:
    """Show a name that is defined in another module; one of another public package is on that one's page."""
    place = root / "src" / home.replace(".", "/")
    if not place.is_dir():
        yield from entry(name, parse(place.with_suffix(".py")), "###")
    elif home in public(root):
        yield f"### `{name}`\n\nSee [`{home}`]({home.rpartition('.')[2]}.md).\n"
    else:
        yield from elsewhere(root, name, imported(parse(place / "__init__.py"))[name])


def imported(module: ast.Module) -> dict[str, str]:
    """Say from where a module has each name that it imports."""
    froms = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in froms for alias in node.names}


def parse(file: Path) -> ast.Module:
    """Read one module."""
    return ast.parse(file.read_text(encoding="utf-8"))


def offered(module: ast.Module) -> list[str] | None:
    """Read the literal behind `__all__`; None where there is none."""
    for statement in module.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=names)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as names)
            ):
                return list(ast.literal_eval(names))
    return None


def submodule(name: str, module: ast.Module) -> Iterator[str]:
    """Show a module that is offered as a whole."""
    yield f"### `{name}`\n\n{prose(ast.get_docstring(module))}\n"
    for each in offered(module) or []:
        yield from entry(each, module, "####", f"{name}.")


def entry(name: str, module: ast.Module, heading: str, prefix: str = "") -> Iterator[str]:
    """Show one name as its module defines it: a class with its methods, a function, or an assignment."""
    yield f"{heading} `{prefix}{name}`\n"
    for node in module.body:
        match node:
            case ast.ClassDef() if node.name == name:
                yield from class_entry(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name and not is_overload(node):
                yield f"{code(signature(node))}\n{prose(ast.get_docstring(node))}\n"
    for attribute in attributes(module.body):
        if attribute.name == name:
            yield f"{code(f'{name} = {ast.unparse(attribute.value)}')}\n{prose(attribute.doc)}\n"


def class_entry(node: ast.ClassDef) -> Iterator[str]:
    """Show a class: how it is made, its docstring, its documented attributes, its public methods and properties."""
    functions = [child for child in node.body if isinstance(child, Function) and not is_overload(child)]
    made_by = [arguments(function) for function in functions if function.name == "__init__"]
    fields = ", ".join(ast.unparse(child) for child in node.body if isinstance(child, ast.AnnAssign))
    made = (made_by or [spaced(fields)])[0]
    yield f"{code(f'class {node.name}' + (made and f'({made})'))}\n{prose(ast.get_docstring(node))}\n"
    documented = [f"- `{each.name}`: {prose(each.doc)}" for each in attributes(node.body) if each.doc]
    if documented:
        yield "\n".join(documented) + "\n"
    for function in functions:
        if not function.name.startswith("_"):
            yield f"#### `{node.name}.{function.name}`\n"
            yield f"{code(signature(function))}\n{prose(ast.get_docstring(function))}\n"


def is_overload(function: Function) -> bool:
    """Say whether this only tells type checkers of one more way to call what comes after."""
    return any(isinstance(decorator, ast.Name) and decorator.id == "overload" for decorator in function.decorator_list)


def signature(function: Function) -> str:
    """Show how a function is called, or that it is a property."""
    words = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    if any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in function.decorator_list):
        return f"{function.name}{returns.replace(' ->', ':')}  # property"
    return f"{words} {function.name}({arguments(function)}){returns}"


def arguments(function: Function) -> str:
    """Show what a caller gives: all but self or cls."""
    return spaced(re.sub(r"^(self|cls)(, |$)", "", ast.unparse(function.args)))


def spaced(parameters: str) -> str:
    """Set defaults apart as the formatter does, which unparsing does not."""
    return re.sub(r"(: [^=]*[^= ])=", r"\1 = ", parameters)


def code(line: str) -> str:
    """Fence a line of Python that is read, not run."""
    return f"```py\n{line}\n```\n"


def prose(docstring: str | None) -> str:
    """Turn a docstring into Markdown: the errors below `Raises:` become a list."""
    text, mark, raises = (docstring or "").partition("Raises:\n")
    items = re.sub(r"^    (\w+): ", r"- `\1`: ", raises, flags=re.MULTILINE)
    return f"{text}Raises:\n\n{re.sub(r'^      *', '  ', items, flags=re.MULTILINE)}" if mark else text
