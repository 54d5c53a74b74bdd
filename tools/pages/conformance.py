"""docs/reference/conformance.md from tests/rows.toml and the marks `row` and `promise` on the tests."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["render"]

ROWS: Final = "tests/rows.toml"
TESTS: Final = ("tests", "src/sojourn/testing")

TOP: Final = f"""\
<!-- Made by `make pages` from {ROWS} and the marks on the tests. -->

# Conformance

What must hold, and the tests that prove it. A section is finished when each of its rows is proved or says why it does
not apply; from then on a row without a test fails the build.
"""


class Cited(NamedTuple):
    """One mark: which test, and which row it says it proves."""

    row: str
    test: str
    path: str
    line: int


def render(root: Path) -> str:
    """Write the page; a mark without a row, or a finished row without its tests, is an error."""
    sections = tomllib.loads((root / ROWS).read_text(encoding="utf-8"))
    for section in sections.values():
        if source := section.get("rows_from"):
            section["rows"] = numbered(ast.get_docstring(ast.parse((root / source).read_text(encoding="utf-8"))) or "")
    known = {row for section in sections.values() for row in section["rows"]}
    cited, problems = defaultdict[str, list[Cited]](list), list[str]()
    for mark in sorted(marks(root), key=lambda mark: (mark.path, mark.line)):
        if not mark.test:
            problems.append(f"{mark.path}:{mark.line}: this mark is not on a test, or cites no literal")
        elif mark.row not in known:
            problems.append(f"{mark.path}:{mark.line}: {mark.test} cites {mark.row}, which is not in {ROWS}")
        else:
            cited[mark.row].append(mark)
    page = [TOP]
    for section in sections.values():
        problems.extend(unproved(section, cited))
        page.append(table(section, cited))
    if problems:
        raise ValueError("\n".join(problems))
    return "".join(page)


def unproved(section: dict[str, Any], cited: dict[str, list[Cited]]) -> Iterator[str]:
    """What keeps a section from being finished, if it says that it is; and reasons that tests contradict."""
    wanted = section.get("tests_per_row", 1)
    for row, entry in section["rows"].items():
        found = len(tests(cited[row]))
        if isinstance(entry, dict):
            if found:
                yield f"{ROWS}: {row} does not apply, says the file, but {found} test(s) cite it"
        elif section["finished"] and found < wanted:
            yield f"{ROWS}: {section['title']} is finished, but {row} has {found} of {wanted} test(s)"


def table(section: dict[str, Any], cited: dict[str, list[Cited]]) -> str:
    """One section of the page."""
    rows, wanted = section["rows"], section.get("tests_per_row", 1)
    done = sum(1 for row, entry in rows.items() if isinstance(entry, dict) or len(tests(cited[row])) >= wanted)
    state = "Finished" if section["finished"] else f"In work: {done} of {len(rows)} rows are proved"
    lines = [f"\n## {section['title']}\n", f"{state}.\n", "| Row | What holds | Tests |", "|---|---|---|"]
    for row, entry in rows.items():
        if isinstance(entry, dict):
            lines.append(f"| {row} | {entry['holds']} | does not apply: {entry['not_applicable']} |")
        else:
            words = entry.replace("|", r"\|")
            lines.append(f"| {row} | {words} | {shown(cited[row])} |")
    return "\n".join(lines) + "\n"


def tests(cited: list[Cited]) -> list[tuple[str, str]]:
    """Name the tests, each once, as file and function."""
    return list(dict.fromkeys((mark.path, mark.test) for mark in cited))


def shown(cited: list[Cited]) -> str:
    """Link each file, as seen from docs/reference, and name its tests as `pytest -k` takes them."""
    files = defaultdict[str, list[str]](list)
    for path, test in tests(cited):
        files[path].append(test.removeprefix("test_"))
    return "<br>".join(f"[{Path(path).stem}](../../{path}): {', '.join(names)}" for path, names in files.items())


def numbered(text: str) -> dict[str, str]:
    """The items of a numbered list, by their number; a line that is indented goes on with its item."""
    items = dict[str, str]()
    number = ""
    for line in text.splitlines():
        if found := re.match(r"(\d+)\.\s+(.+)", line):
            number, items[found[1]] = found.groups()
        elif number and line.startswith(" "):
            items[number] += " " + line.strip()
        else:
            number = ""
    return items


def marks(root: Path) -> Iterator[Cited]:
    """Every mark in the tests; `test` is empty for one that belongs to none."""
    for folder in TESTS:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            module = ast.parse(file.read_text(encoding="utf-8"))
            owned = set[ast.Call]()
            for test, call in on_tests(module, ()):
                owned.add(call)
                for argument in call.args:
                    match argument:
                        case ast.Constant(value=row):
                            yield Cited(str(row), test, path, call.lineno)
                        case _:
                            yield Cited("", "", path, call.lineno)
            for call in calls(module):
                if call not in owned:
                    yield Cited("", "", path, call.lineno)


def on_tests(scope: ast.Module | ast.ClassDef, outer: tuple[ast.Call, ...]) -> Iterator[tuple[str, ast.Call]]:
    """Pair each test with its marks: its own, those of its class, those in `pytestmark`."""
    here = [*outer]
    for statement in scope.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="pytestmark")]):
                here.extend(calls(statement))
    for statement in scope.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test"):
                own = [call for decorator in statement.decorator_list for call in calls(decorator)]
                yield from ((name, call) for call in [*here, *own])
            case ast.ClassDef():
                own = [call for decorator in statement.decorator_list for call in calls(decorator)]
                yield from on_tests(statement, (*here, *own))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every `pytest.mark.row(...)` and `pytest.mark.promise(...)` below a node."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="row" | "promise", value=ast.Attribute(attr="mark"))):
                yield node
