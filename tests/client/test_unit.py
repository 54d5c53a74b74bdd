"""The browser client by itself: its own tests, which node runs, and the script that is built from it.

What it does with a real server is tested in a real browser, elsewhere.
"""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from web import build

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs" / "reference" / "client.md",
    ROOT / "docs" / "how-to" / "show-a-list-in-pages.md",
    ROOT / "docs" / "how-to" / "use-the-browser-client.md",
    ROOT / "docs" / "how-to" / "track-visits.md",
]
OPTIONED = ["client", "retry", "room", "tracker"]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What node says of the client's tests; they run once, however many processes share this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "client.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        written = folder / "client.json"
        if not written.exists():
            try:
                build.install()
                build.run("vitest", "run", "--reporter=json", f"--outputFile={written}")
            except build.CommandError:
                if not written.exists():
                    raise
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("F-C1", marks=pytest.mark.row("F-C1")),
        pytest.param("F-C2", marks=pytest.mark.row("F-C2")),
        pytest.param("F-C3", marks=pytest.mark.row("F-C3")),
        pytest.param("F-C4", marks=pytest.mark.row("F-C4")),
        pytest.param("F-C5", marks=pytest.mark.row("F-C5")),
        pytest.param("F-C6", marks=pytest.mark.row("F-C6")),
        pytest.param("F-C7", marks=pytest.mark.row("F-C7")),
        pytest.param("F-C8", marks=pytest.mark.row("F-C8")),
        pytest.param("F-C9", marks=pytest.mark.row("F-C9")),
        pytest.param("F-C10", marks=pytest.mark.row("F-C10")),
        pytest.param("F-C11", marks=pytest.mark.row("F-C11")),
        pytest.param("F-C12", marks=pytest.mark.row("F-C12")),
        pytest.param("F-C13", marks=pytest.mark.row("F-C13")),
        pytest.param("F-C14", marks=pytest.mark.row("F-C14")),
        pytest.param("F-C15", marks=pytest.mark.row("F-C15")),
        pytest.param("F-C16", marks=pytest.mark.row("F-C16")),
        pytest.param("F-C17", marks=pytest.mark.row("F-C17")),
        pytest.param("F-C18", marks=pytest.mark.row("F-C18")),
        pytest.param("F-C19", marks=pytest.mark.row("F-C19")),
        pytest.param("F-C20", marks=pytest.mark.row("F-C20")),
        pytest.param("F-C21", marks=pytest.mark.row("F-C21")),
        pytest.param("F-C22", marks=pytest.mark.row("F-C22")),
        pytest.param("F-C23", marks=pytest.mark.row("F-C23")),
        pytest.param("F-C24", marks=pytest.mark.row("F-C24")),
        pytest.param("F-C25", marks=pytest.mark.row("F-C25")),
        pytest.param("F-C26", marks=pytest.mark.row("F-C26")),
        pytest.param("F-C27", marks=pytest.mark.row("F-C27")),
        pytest.param("F-C28", marks=pytest.mark.row("F-C28")),
        pytest.param("F-C29", marks=pytest.mark.row("F-C29")),
        pytest.param("F-C30", marks=pytest.mark.row("F-C30")),
        pytest.param("F-C68", marks=pytest.mark.row("F-C68")),
        pytest.param("F-C69", marks=pytest.mark.row("F-C69")),
        pytest.param("F-C70", marks=pytest.mark.row("F-C70")),
        pytest.param("F-C72", marks=pytest.mark.row("F-C72")),
        pytest.param("F-C73", marks=pytest.mark.row("F-C73")),
        pytest.param("F-C74", marks=pytest.mark.row("F-C74")),
        pytest.param("F-C75", marks=pytest.mark.row("F-C75")),
        pytest.param("F-C76", marks=pytest.mark.row("F-C76")),
        pytest.param("F-C77", marks=pytest.mark.row("F-C77")),
        pytest.param("F-C78", marks=pytest.mark.row("F-C78")),
        pytest.param("F-C98", marks=pytest.mark.row("F-C98")),
        pytest.param("F-G5", marks=pytest.mark.row("F-G5")),
        pytest.param("F-G2", marks=pytest.mark.row("F-G2")),
        pytest.param("F-G6", marks=pytest.mark.row("F-G6")),
        pytest.param("F-G7", marks=pytest.mark.row("F-G7")),
        pytest.param("F-L13", marks=pytest.mark.row("F-L13")),
        pytest.param("F-W9", marks=pytest.mark.row("F-W9")),
        pytest.param("F-W10", marks=pytest.mark.row("F-W10")),
        pytest.param("F-W11", marks=pytest.mark.row("F-W11")),
        pytest.param("P-R14", marks=pytest.mark.row("P-R14")),
        pytest.param("P-R16", marks=pytest.mark.row("P-R16")),
        pytest.param("P-R17", marks=pytest.mark.row("P-R17")),
        pytest.param("P-R20", marks=pytest.mark.row("P-R20")),
    ],
)
def test_row_holds(row: str, report: dict[str, Any]) -> None:
    """Proves that there are tests titled with the row, and that each of them passed."""
    title = re.compile(rf"\b{row}\b")
    tests = [test for file in report["testResults"] for test in file["assertionResults"]]
    found = {test["fullName"]: test for test in tests if title.search(test["fullName"])}
    assert found
    assert {name: test["failureMessages"] for name, test in found.items() if test["status"] != "passed"} == {}


def test_every_test_of_the_client_passes(report: dict[str, Any]) -> None:
    """Proves that none failed, was left out or broke down beside the rows."""
    tests = [test for file in report["testResults"] for test in file["assertionResults"]]
    assert {test["fullName"]: test["failureMessages"] for test in tests if test["status"] != "passed"} == {}
    assert [file["message"] for file in report["testResults"] if file["status"] != "passed"] == []
    assert report["success"]


@pytest.mark.row("F-C3", "F-C4")
def test_types_hold() -> None:
    """Proves that correct calls are accepted by the type checker, and that each wrong one is an error."""
    build.install()
    build.run("tsc")


def test_the_committed_script_is_what_the_sources_make() -> None:
    """Proves that a fresh build is equal, byte for byte."""
    assert build.is_current()


def test_the_script_is_small_and_plain() -> None:
    """Proves that it loads anywhere: a classic script, no source map to ask for, a few kilobytes."""
    script = (build.STATIC / "sojourn.js").read_text(encoding="utf-8")
    assert len(script.encode()) < 40_000
    assert not re.search(r"^\s*(import|export)\b|sourceMappingURL", script, re.MULTILINE)


def test_the_lock_file_names_no_registry() -> None:
    """Proves that what is installed here can be installed anywhere: each package has its checksum, and no address."""
    lock = json.loads((build.WEB / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if "node_modules/" in name}
    assert [name for name, entry in packages.items() if "://" in str(entry.get("resolved", ""))] == []
    assert [name for name, entry in packages.items() if not (entry.get("integrity") or entry.get("link"))] == []


def test_the_pages_name_everything() -> None:
    """Proves that each public name, option and method of the client has its place in the reference."""
    sources = {file.stem: file.read_text(encoding="utf-8") for file in (build.CLIENT / "src").glob("*.ts")}
    names = re.findall(r"\b[A-Z]\w+", re.sub(r'".*?"|//.*', "", sources["index"]))
    methods = re.findall(r"^  (?:async |get )?([a-z]\w*)[(<]", sources["client"] + sources["tracker"], re.MULTILINE)
    interfaces = re.findall(
        r"^export interface \w+ {\n(.*?)^}", "\n".join(sources[name] for name in OPTIONED), re.DOTALL | re.MULTILINE
    )
    options = re.findall(r"^  readonly (\w+)\??:", "".join(interfaces), re.MULTILINE)
    fields = re.findall(r"^  declare readonly (\w+)\??:", sources["errors"], re.MULTILINE)
    assert min(map(len, (names, methods, options, fields))) > 3
    page = PAGES[0].read_text(encoding="utf-8")
    headings = "\n".join(line for line in page.splitlines() if line.startswith("### "))
    methods = [name for name in methods if name != "constructor"]
    assert [name for name in [*names, *methods] if f"`{name}`" not in headings] == []
    assert [name for name in [*options, *fields] if f"| `{name}` |" not in page] == []


def test_the_programs_of_the_pages_are_correct(tmp_path: Path) -> None:
    """Proves that each TypeScript block of the pages is a whole module that the compiler accepts."""
    for page in PAGES:
        blocks = re.findall(r"^```ts\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        assert blocks
        for number, block in enumerate(blocks):
            (tmp_path / f"{page.stem}-{number}.ts").write_text(block, encoding="utf-8")
    settings = {
        "extends": str(build.CLIENT / "tsconfig.json"),
        "compilerOptions": {
            "paths": {"sojourn-client": [str(build.CLIENT / "src" / "index.ts")]},
            "noUnusedLocals": False,
        },
        "include": [str(tmp_path)],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    build.install()
    build.run("tsc", "-p", tmp_path)
