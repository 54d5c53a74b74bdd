"""The hooks for React by themselves: their own tests, which node runs, their types, and the packages that are built.

What they do with a real server is tested in a real browser, elsewhere.
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
PAGES = [ROOT / "docs" / "reference" / "react.md", ROOT / "docs" / "how-to" / "use-react.md"]

REGISTERED = """
import type { Action, Mutation, Page, PageRequest, Query } from "sojourn-client";

interface Api {
  basket: Query<{ limit?: number }, string[]>;
  product: Query<{ sku: string }, { name: string }>;
  owner: Query;
  products: Query<{ shelf: string; page?: PageRequest }, Page<string>>;
  add: Mutation<{ sku: string; count?: number }, null>;
  clear: Mutation;
  ship: Action<{ to: string }, { parcel: string }>;
}

declare module "sojourn-react" {
  interface Register { api: Api }
}
"""
CORRECT = [
    'useSessionQuery("basket")',
    'useSessionQuery("basket", { limit: 5 })?.join()',
    'useSessionQuery("product", { sku: "tea" })?.name',
    'useSessionQuery("product", SKIP)',
    'useSessionQueryState("owner").status',
    'useSessionPaginatedQuery("products", { shelf: "low" }, { size: 5 }).results.join()',
    'useSessionMutation("add")({ sku: "tea" })',
    'useSessionMutation("clear")()',
    'useSessionMutation("add").withOptimisticUpdate((local) => local.set("basket", {}, []))({ sku: "tea" })',
    'useSessionAction("ship")({ to: "Oslo" }).then(({ parcel }) => parcel)',
]
WRONG = {
    "a query that is not there": 'useSessionQuery("baskets")',
    "a mutation as a query": 'useSessionQuery("clear")',
    "an action as a query": 'useSessionQuery("ship", { to: "Oslo" })',
    "a query as a mutation": 'useSessionMutation("basket")',
    "a mutation as an action": 'useSessionAction("clear")',
    "a query without what it requires": 'useSessionQuery("product")',
    "a query with nothing of what it requires": 'useSessionQuery("product", {})',
    "a query with a number for a text": 'useSessionQuery("product", { sku: 1 })',
    "a query with an argument too many": 'useSessionQuery("product", { sku: "tea", colour: "red" })',
    "a query with an argument where there is none": 'useSessionQuery("owner", { sku: "tea" })',
    "a query with the session among its arguments": 'useSessionQuery("basket", { sessionId: "mine" })',
    "a query with a wrong word in place of SKIP": 'useSessionQuery("basket", "skipped")',
    "a result that may be loading": 'useSessionQuery("basket").join()',
    "a result that has no such field": 'useSessionQuery("product", { sku: "tea" })?.price',
    "a state without what the query requires": 'useSessionQueryState("product")',
    "a list of a query without pages": 'useSessionPaginatedQuery("basket")',
    "a list without what it requires": 'useSessionPaginatedQuery("products")',
    "a list with a page of the caller's": 'useSessionPaginatedQuery("products", { shelf: "low", page: {} })',
    "a mutation without what it requires": 'useSessionMutation("add")()',
    "a mutation with a text for a number": 'useSessionMutation("add")({ sku: "tea", count: "2" })',
    "a mutation with an argument where there is none": 'useSessionMutation("clear")({ all: true })',
    "a mutation that is skipped": 'useSessionMutation("add")(SKIP)',
    "an update among a mutation's options": 'useSessionMutation("clear")({}, { optimistic: () => undefined })',
    "an update of a query that is not there": 'useSessionMutation("clear").withOptimisticUpdate((l) => l.get("none"))',
    "an update with a wrong value": 'useSessionMutation("clear").withOptimisticUpdate((l) => l.set("basket", {}, [1]))',
    "an update on an update": 'useSessionMutation("add").withOptimisticUpdate(() => {}).withOptimisticUpdate(() => {})',
    "an update of an action": 'useSessionAction("ship").withOptimisticUpdate(() => {})',
    "an action without what it requires": 'useSessionAction("ship")()',
    "an action with an argument too many": 'useSessionAction("ship")({ to: "Oslo", by: "sea" })',
    "a provider with a client and a storage": '<SessionProvider client={new SojournClient()} storage="local" />',
    "a provider with two storages": '<SessionProvider useStorage={useSessionStorage} storage="local" />',
    "a tracker with a text for a time": '<SessionTracker heartbeatInterval="5m" />',
    "an action of a visitor without a name": "useSessionTracker().trackUserAction()",
}


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What node says of the tests; they run once, however many processes share this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "react.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        written = folder / "react.json"
        if not written.exists():
            try:
                build.install()
                build.run("vitest", "run", "--reporter=json", f"--outputFile={written}", folder=build.REACT)
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
        pytest.param("F-C5", marks=pytest.mark.row("F-C5")),
        pytest.param("F-C9", marks=pytest.mark.row("F-C9")),
        pytest.param("F-C10", marks=pytest.mark.row("F-C10")),
        pytest.param("F-C13", marks=pytest.mark.row("F-C13")),
        pytest.param("F-C14", marks=pytest.mark.row("F-C14")),
        pytest.param("F-C15", marks=pytest.mark.row("F-C15")),
        pytest.param("F-C16", marks=pytest.mark.row("F-C16")),
        pytest.param("F-C17", marks=pytest.mark.row("F-C17")),
        pytest.param("F-C18", marks=pytest.mark.row("F-C18")),
        pytest.param("F-C19", marks=pytest.mark.row("F-C19")),
        pytest.param("F-C20", marks=pytest.mark.row("F-C20")),
        pytest.param("F-C22", marks=pytest.mark.row("F-C22")),
        pytest.param("F-C23", marks=pytest.mark.row("F-C23")),
        pytest.param("F-C24", marks=pytest.mark.row("F-C24")),
        pytest.param("F-C25", marks=pytest.mark.row("F-C25")),
        pytest.param("F-C26", marks=pytest.mark.row("F-C26")),
        pytest.param("F-C27", marks=pytest.mark.row("F-C27")),
        pytest.param("F-C28", marks=pytest.mark.row("F-C28")),
        pytest.param("F-C29", marks=pytest.mark.row("F-C29")),
        pytest.param("F-C30", marks=pytest.mark.row("F-C30")),
        pytest.param("F-C69", marks=pytest.mark.row("F-C69")),
        pytest.param("F-C71", marks=pytest.mark.row("F-C71")),
        pytest.param("F-C73", marks=pytest.mark.row("F-C73")),
        pytest.param("F-C77", marks=pytest.mark.row("F-C77")),
        pytest.param("F-C78", marks=pytest.mark.row("F-C78")),
        pytest.param("F-G1", marks=pytest.mark.row("F-G1")),
        pytest.param("F-G6", marks=pytest.mark.row("F-G6")),
        pytest.param("F-G7", marks=pytest.mark.row("F-G7")),
        pytest.param("F-L13", marks=pytest.mark.row("F-L13")),
        pytest.param("F-W10", marks=pytest.mark.row("F-W10")),
        pytest.param("F-W11", marks=pytest.mark.row("F-W11")),
    ],
)
def test_row_holds(row: str, report: dict[str, Any]) -> None:
    """Proves that there are tests titled with the row, and that each of them passed."""
    title = re.compile(rf"\b{row}\b")
    tests = [test for file in report["testResults"] for test in file["assertionResults"]]
    found = {test["fullName"]: test for test in tests if title.search(test["fullName"])}
    assert found
    assert {name: test["failureMessages"] for name, test in found.items() if test["status"] != "passed"} == {}


def test_every_test_of_the_hooks_passes(report: dict[str, Any]) -> None:
    """Proves that none failed, was left out or broke down beside the rows."""
    tests = [test for file in report["testResults"] for test in file["assertionResults"]]
    assert {test["fullName"]: test["failureMessages"] for test in tests if test["status"] != "passed"} == {}
    assert [file["message"] for file in report["testResults"] if file["status"] != "passed"] == []
    assert report["success"]


@pytest.mark.row("F-C3", "F-C4")
def test_types_hold() -> None:
    """Proves that correct calls are accepted by the type checker, and that each wrong one is an error."""
    build.install()
    build.run("tsc", folder=build.REACT)
    build.run("tsc", "-p", "test/app", folder=build.REACT)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody who has installed the packages, and nothing of ours beside."""
    folder = tmp_path_factory.mktemp("project")
    build.pack(folder / "node_modules")
    for name in ["@types", "csstype", "react", "react-dom", "scheduler"]:
        (folder / "node_modules" / name).symlink_to(build.WEB / "node_modules" / name)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    settings = {
        "compilerOptions": {
            "target": "ES2022",
            "module": "NodeNext",
            "lib": ["ES2022", "DOM", "DOM.Iterable"],
            "jsx": "react-jsx",
            "strict": True,
            "noEmit": True,
            "types": [],
        },
        "include": ["calls"],
    }
    (folder / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_the_packages_are_what_they_say(project: Path) -> None:
    """Proves that all that their descriptions name is there, and that React's server components know whose it is."""
    packages = [project / "node_modules" / name for name in ("sojourn-client", "sojourn-react")]
    client, react = [json.loads((package / "package.json").read_text(encoding="utf-8")) for package in packages]
    for package, described in zip(packages, (client, react), strict=True):
        ways = described["exports"]["."]
        assert list(ways) == ["types", "default"]
        assert [way for way in ways.values() if not (package / way).is_file()] == []
        assert described["sideEffects"] is False
    assert react["peerDependencies"] == {"react": ">=18", "sojourn-client": client["version"]}
    bundle = (packages[-1] / react["exports"]["."]["default"]).read_text(encoding="utf-8")
    assert bundle.startswith('"use client";\n')
    assert set(re.findall(r'from "(.+?)"', bundle)) == {"react", "react/jsx-runtime", "sojourn-client"}


@pytest.mark.row("F-C22")
def test_the_packages_render_a_page_on_a_server(project: Path) -> None:
    """Proves that node can load them without a bundler, and that what it renders needs no browser and asks nobody."""
    (project / "page.js").write_text(
        """
        import { createElement as element } from "react";
        import { renderToString } from "react-dom/server";
        import { SessionProvider, useSessionId, useSessionQuery, useSessionTracker } from "sojourn-react";

        globalThis.fetch = () => { throw new Error("nobody is to be asked"); };

        function Page() {
          const [id] = useSessionId();
          return `${id} ${useSessionQuery("basket")} ${useSessionTracker().id}`;
        }

        const props = { storage: "local", ssrFriendly: true };
        const page = renderToString(element(SessionProvider, props, element(Page)));
        if (page !== "undefined undefined undefined") throw new Error(page);
        """,
        encoding="utf-8",
    )
    build.run("node", "page.js", folder=project)


@pytest.fixture(scope="session")
def faults(project: Path) -> dict[str, set[str]]:
    """What the compiler has against each file of calls, one call in each."""
    calls = project / "calls"
    calls.mkdir()
    (calls / "register.d.ts").write_text(REGISTERED, encoding="utf-8")
    for number, call in enumerate([*CORRECT, *WRONG.values()]):
        imports = sorted(set(re.findall(r"\b(use[A-Z]\w+|Session\w+|SKIP)\b", call)))
        (calls / f"{number}.tsx").write_text(
            'import { SojournClient } from "sojourn-client";\n'
            f'import {{ {", ".join(imports)} }} from "sojourn-react";\n\n'
            f"export const useIt = () => {call};\n",
            encoding="utf-8",
        )
    try:
        build.run("tsc", folder=project)
    except build.CommandError as error:
        found = re.findall(r"^(\S+?)\(.*?error (TS\d+)", str(error), re.MULTILINE)
        return {file: {code for other, code in found if other == file} for file, _ in found}
    return {}


def test_correct_calls_are_accepted(faults: dict[str, set[str]]) -> None:
    """Proves that the compiler has nothing against them, nor against the types of the packages."""
    wrong = {f"calls/{number}.tsx" for number in range(len(CORRECT), len(CORRECT) + len(WRONG))}
    assert {file: codes for file, codes in faults.items() if file not in wrong} == {}


@pytest.mark.row("F-C4")
@pytest.mark.parametrize("what", WRONG)
def test_each_wrong_call_is_an_error_to_the_compiler(what: str, faults: dict[str, set[str]]) -> None:
    """Proves that it fails by itself, and not for want of something to import."""
    codes = faults.get(f"calls/{len(CORRECT) + list(WRONG).index(what)}.tsx", set())
    assert codes
    assert codes.isdisjoint({"TS2304", "TS2305", "TS2307"})


def test_the_pages_name_everything() -> None:
    """Proves that each public name and option of the hooks has its place in the reference."""
    sources = {file.stem: file.read_text(encoding="utf-8") for file in (build.REACT / "src").glob("*.ts*")}
    names = re.findall(r"\b(?!type\b|export\b|from\b)[A-Za-z]\w+", re.sub(r'".*?"|//.*', "", sources["index"]))
    page = PAGES[0].read_text(encoding="utf-8")
    headings = "\n".join(line for line in page.splitlines() if line.startswith("### "))
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in headings] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_programs_of_a_page_are_correct(page: Path, project: Path) -> None:
    """Proves that each TypeScript block is a module that the compiler accepts, with what the page has registered."""
    folder = project / "pages" / page.stem
    folder.mkdir(parents=True)
    blocks = re.findall(r"^```(tsx?)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    for number, (kind, block) in enumerate(blocks):
        (folder / f"{number}.{kind}").write_text(block, encoding="utf-8")
    settings = {"extends": "../../tsconfig.json", "compilerOptions": {"noUnusedLocals": False}, "include": ["*"]}
    (folder / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    build.run("tsc", "-p", folder, folder=project)
