"""What users can name is on a page of docs/reference."""

import re
from collections import defaultdict
from pathlib import Path

import sojourn
from sojourn import errors, limits
from sojourn.server import App
from sojourn.visits import Visits
from sojourn.wire import failure_of, status_of
from tools.pages.errors import tree

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def page(name: str) -> str:
    """The text of one page."""
    return (REFERENCE / name).read_text(encoding="utf-8")


def error_classes() -> list[type[errors.SojournError]]:
    """SojournError and all below it that the library defines, found by walking the classes."""
    found, new = [errors.SojournError], [errors.SojournError]
    while new:
        new = [child for error in new for child in error.__subclasses__() if child.__module__.startswith("sojourn.")]
        found += new
    return found


def test_public_names_have_a_heading() -> None:
    """Proves that every name of the root package is explained in the reference."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.rglob("*.md"))
    headings = set(re.findall(r"^### `(\w+)", text, re.MULTILINE))
    assert sorted(set(sojourn.__all__) - headings) == []


def test_errors_are_documented_with_their_code() -> None:
    """Proves that each error class has its heading and its code, and that no two share a code."""
    text = page("errors.md")
    classes = error_classes()
    assert [error for error in classes if f"### `{error.__name__}`\n\ncode `{error.code}` " not in text] == []
    assert len({error.code for error in classes}) == len(classes)


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """Proves that the drawing in the docstring has the classes of the module, each under its parent."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in tree(errors.__doc__ or "").splitlines():
        name = line.strip("│├└─ ").split()[0]
        path[line.index(name) // 3 :] = [name]
        drawn[name] = path[-2] if len(path) > 1 else "Exception"
    assert drawn == {error.__name__: error.__bases__[0].__name__ for error in error_classes()}


def test_limits_are_documented() -> None:
    """Proves that every number of `limits` is on the page, and no two under one name."""
    names = re.findall(r"^\| `(\w+)` \|", page("limits.md"), re.MULTILINE)
    assert names
    assert sorted(names) == sorted(name for name in vars(limits) if name.isupper())


def test_routes_have_a_heading() -> None:
    """Proves that the page of the wire has each route of the server, by its method, and no other."""
    store = sojourn.open("memory:")
    app = App(store, visits=Visits(store))
    routes = {f"{method} {path}" for path, methods in app._routes.items() for method in methods}
    headings = re.findall(r"^### `([A-Z]+ /\S*)`$", page("wire.md"), re.MULTILINE)
    assert sorted(headings) == sorted({*routes, "GET /sojourn.js"})


def test_the_codes_on_the_wire_are_documented_by_status() -> None:
    """Proves that the table of the wire's errors has each code that a client can get, beside its status."""
    sent = defaultdict[str, set[str]](set)
    for kind in error_classes():
        error = kind.__new__(kind, "a class needs no arguments here")
        vars(error).update(name="value", data=None)  # what the message for some kinds looks at
        sent[str(status_of(error))].add(failure_of(error, "report").code)
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", page("wire.md"), re.MULTILINE)
    assert {status: set(re.findall(r"`([a-z_]+)`", codes)) for status, codes in rows} == sent
