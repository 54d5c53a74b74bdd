"""Reference pages that are made from the source, so that the two cannot disagree."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tools.pages import cli, conformance, errors, limits, packages, simulation

__all__ = ["ROOT", "pages", "stale"]

ROOT: Final = Path(__file__).parents[2]


def pages(root: Path = ROOT) -> dict[str, Callable[[], str]]:
    """Name each page, and what renders it."""
    renderers: dict[str, Callable[[], str]] = {
        f"python/{package.removeprefix('sojourn.')}": partial(packages.render, root, package)
        for package in packages.public(root)
    }
    for page in (cli, conformance, errors, limits, simulation):
        renderers[page.__name__.rpartition(".")[2]] = partial(page.render, root)
    return {f"docs/reference/{name}.md": renderer for name, renderer in sorted(renderers.items())}


def stale(root: Path = ROOT) -> list[str]:
    """Name each page that is not what the source says now.

    Raises:
        ValueError: the source breaks a rule of its page; the message has a line for each place.
    """
    return [
        page
        for page, render in pages(root).items()
        if not (root / page).exists() or (root / page).read_text(encoding="utf-8") != render()
    ]
