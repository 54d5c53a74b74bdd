"""Pages made from the source are current, and their rules are kept."""

from pathlib import Path

import pytest

from tools.pages import conformance, limits, packages, stale


def test_pages_are_current() -> None:
    """Proves that `make pages` would change nothing."""
    assert stale() == []


ROWS = """
[visits]
title = "Visits"
finished = {finished}
[visits.rows]
X-1 = "First."
X-2 = {{ holds = "Second.", not_applicable = "No cookies here." }}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with a finished section of two rows and no tests."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "rows.toml").write_text(ROWS.format(finished="true"), encoding="utf-8")
    return tmp_path


def with_tests(tree: Path, code: str) -> Path:
    """Give the project its tests."""
    (tree / "tests" / "test_visits.py").write_text(f"import pytest\n{code}\n", encoding="utf-8")
    return tree


def test_conformance_links_the_tests(tree: Path) -> None:
    """Proves that marks on functions, on classes and on whole modules are all counted."""
    with_tests(
        tree,
        """
pytestmark = pytest.mark.row("X-1")
def test_by_module(): ...
class TestVisits:
    @pytest.mark.row("X-1")
    async def test_by_both(self): ...
""",
    )
    page = conformance.render(tree)
    assert "| X-1 | First. | [test_visits](../../tests/test_visits.py): by_module, by_both |" in page
    assert "| X-2 | Second. | does not apply: No cookies here. |" in page


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", "X-1 has 0 of 1"),
        ('@pytest.mark.row("X-3")\ndef test(): ...', "X-3, which is not in"),
        ('@pytest.mark.row("X-1", "X-2")\ndef test(): ...', "X-2 does not apply"),
        ('@pytest.mark.row("X-1")\ndef example(): ...', "not on a test"),
        ("@pytest.mark.row(ROW)\ndef test(): ...", "cites no literal"),
    ],
)
def test_conformance_refuses(tree: Path, code: str, problem: str) -> None:
    """Proves that an unproved row of a finished section, and a mark that cannot count, stop the build."""
    with pytest.raises(ValueError, match=problem):
        conformance.render(with_tests(tree, code))


def test_an_unfinished_section_may_lack_tests(tree: Path) -> None:
    """Proves that a section in work says how far it is."""
    (tree / "tests" / "rows.toml").write_text(ROWS.format(finished="false"), encoding="utf-8")
    assert "In work: 1 of 2 rows" in conformance.render(tree)


@pytest.mark.parametrize("text", ["A = 1", '"""Module."""\nA = 1', 'A = 1\nB = 2\n"""Doc."""'])
def test_a_limit_needs_a_reason(tmp_path: Path, text: str) -> None:
    """Proves that a number without its reason stops the build."""
    folder = tmp_path / "src" / "sojourn" / "limits"
    folder.mkdir(parents=True)
    (folder / "for_now.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="A needs a docstring"):
        limits.render(tmp_path)


MODULE = """
class Cart:
    \"\"\"What a visitor will buy.\"\"\"

    def __init__(self, size: int = 3) -> None: ...

    async def add(self, sku: str) -> None:
        \"\"\"Put one thing in.

        Raises:
            LimitError: the cart
                is full.
        \"\"\"

Sku = str
\"\"\"What a thing is ordered by.\"\"\"
"""


def test_a_package_is_shown_by_its_docstrings(tmp_path: Path) -> None:
    """Proves that a page has each public name, how it is called, and what it says of itself."""
    face = tmp_path / "src" / "sojourn" / "visits"
    face.mkdir(parents=True)
    (face / "cart.py").write_text(MODULE, encoding="utf-8")
    (face / "__init__.py").write_text(
        '"""Visits."""\nfrom sojourn.visits.cart import Cart, Sku\n__all__ = ["Cart", "Sku"]\n', encoding="utf-8"
    )
    assert list(packages.public(tmp_path)) == ["sojourn.visits"]
    page = packages.render(tmp_path, "sojourn.visits")
    assert "### `Cart`\n\n```py\nclass Cart(size: int = 3)\n```\n\nWhat a visitor will buy.\n" in page
    assert "#### `Cart.add`\n\n```py\nasync def add(sku: str) -> None\n```\n\nPut one thing in.\n" in page
    assert "Raises:\n\n- `LimitError`: the cart\n  is full.\n" in page
    assert "### `Sku`\n\n```py\nSku = str\n```\n\nWhat a thing is ordered by.\n" in page


def test_a_module_that_stands_alone_has_a_page_and_an_overload_has_none(tmp_path: Path) -> None:
    """Proves that what no package offers is shown too, and a method once, however many ways there are to call it."""
    (tmp_path / "src" / "sojourn").mkdir(parents=True)
    (tmp_path / "src" / "sojourn" / "telemetry.py").write_text(
        '''"""Traces."""
from typing import overload

__all__ = ["Trace"]


class Trace:
    """Traces one thing."""

    @overload
    def end(self) -> None: ...

    @overload
    def end(self, at: int) -> int: ...

    def end(self, at=None):
        """End it."""
''',
        encoding="utf-8",
    )
    assert list(packages.public(tmp_path)) == ["sojourn.telemetry"]
    page = packages.render(tmp_path, "sojourn.telemetry")
    assert "# sojourn.telemetry\n\nTraces.\n" in page
    assert page.count("#### `Trace.end`") == 1
    assert "def end(at=None)" in page
    assert "End it.\n" in page
