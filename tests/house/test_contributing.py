"""Rules of CONTRIBUTING that a program can see."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"skip", "skipif", "xfail", "importorskip", "flaky"}


def calls_and_names(node: ast.AST) -> Iterator[str]:
    """Name what a node does that a test may not do."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="time" | "asyncio" as module), attr="sleep"), args=[pause]):
            if not (isinstance(pause, ast.Constant) and pause.value == 0):
                yield f"{module}.sleep"
        case ast.Attribute(value=ast.Name(id="pytest") | ast.Attribute(attr="mark"), attr=attribute):
            if attribute in FORBIDDEN:
                yield attribute


def test_no_test_sleeps_or_is_skipped() -> None:
    """Proves that tests wait for nothing but an injected clock, and that none is left out."""
    found = [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {what}"
        for folder in ("tests", "src/sojourn/testing")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for what in calls_and_names(node)
    ]
    assert found == []


def test_fragments_have_their_form() -> None:
    """Proves that each changelog fragment is named by issue and kind, and says something."""
    fragments = [file for file in (ROOT / "changelog.d").iterdir() if file.name != "README.md"]
    assert [
        file.name for file in fragments if not re.fullmatch(r"\d+\.(added|changed|fixed|removed)\.md", file.name)
    ] == []
    assert [file.name for file in fragments if not file.read_text(encoding="utf-8").strip()] == []
