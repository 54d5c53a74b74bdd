"""`sojourn types`: what it prints, and what the compiler of TypeScript makes of that."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from sojourn.kernel.codec import codec
from web import build

from .applications import SMALL, WIDE
from .conftest import Run

PRINTED = """\
// Made by `sojourn types`; changes are lost.
import type { Action, Mutation, Query } from "sojourn-client";

/** One line of a cart. */
export interface Item {
  readonly sku: string;
  readonly count: number;
}

/** One line of a cart. */
export interface ItemInput {
  readonly sku: string;
  readonly count?: number;
}

/** What the server's functions take and return, by their names. */
export interface Api {
  add_item: Mutation<{ item: ItemInput }, null>;
  /**
   * Show the cart.
   *
   * The newest /* lines *\\/ first.
   */
  cart: Query<{ limit?: number }, readonly Item[]>;
  ship: Action<{ to: string }, string>;
  stock: Query<Record<string, never>, { readonly [key: string]: number }>;
}
"""

WRONG = {
    "a name that is not there": 'client.query("carts")',
    "an internal function": 'client.mutation("restock")',
    "a query as a mutation": 'client.mutation("cart")',
    "a mutation as a query": 'client.query("add_item", { item: { sku: "a" } })',
    "an action as a mutation": 'client.mutation("ship", { to: "a" })',
    "arguments left out": 'client.mutation("add_item")',
    "an argument left out": 'client.action("ship", {})',
    "an argument of another type": 'client.query("cart", { limit: "5" })',
    "an argument that is null": 'client.query("cart", { limit: null })',
    "an argument that it does not take": 'client.query("cart", { limit: 5, page: 1 })',
    "an argument where it takes none": 'client.query("stock", { sku: "a" })',
    "the session as an argument": 'client.query("stock", { session_id: "a" })',
    "a field left out": 'client.mutation("add_item", { item: { count: 1 } })',
    "a field that is not there": 'client.mutation("add_item", { item: { sku: "a", colour: "red" } })',
    "a result of another type": 'client.query("cart").then((items) => items.toUpperCase())',
    "a field of a result that is not there": 'client.query("cart").then(([item]) => item?.colour)',
    "a result that is changed": 'client.query("cart").then((items) => items.push({ sku: "a", count: 1 }))',
    "a count that may be missing": 'client.query("stock").then((stock) => stock["a"].toFixed())',
}

RIGHT = """
client.query("cart");
client.query("cart", {});
client.query("cart", { limit: 5 }).then(([item]) => item?.count.toFixed());
client.query("stock", {}).then((stock) => stock["a"]?.toFixed());
client.mutation("add_item", { item: { sku: "a" } }, { requestId: "1" });
client.action("ship", { to: "a" }).then((parcel) => parcel.toUpperCase());
"""

TOP = """\
import { SojournClient } from "sojourn-client";
import type { Api } from "./api.js";
const client = new SojournClient<Api>();
"""


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Forget what a test has imported from its folder."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in {"small", "wide", "broken"}:
            del sys.modules[name]


@pytest.fixture
def small(folder: Path) -> str:
    """The name of a small application."""
    (folder / "small.py").write_text(SMALL, encoding="utf-8")
    return "small:app"


@pytest.fixture
def wide(folder: Path) -> str:
    """The name of functions with everything in them that an annotation can be."""
    (folder / "wide.py").write_text(WIDE, encoding="utf-8")
    return "wide:functions"


def complaints(folder: Path, files: Mapping[str, str]) -> dict[str, list[str]]:
    """Compile the files, and return what the compiler says of each that it says something of."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    source = build.CLIENT / "src"
    settings = {
        "extends": str(build.CLIENT / "tsconfig.json"),
        "compilerOptions": {
            "paths": {"sojourn-client": [str(source / "index.ts")], "sojourn-client/types": [str(source / "types.ts")]},
            "skipLibCheck": False,  # for it leaves out the very file that this is about
        },
        "include": [str(folder)],
    }
    (folder / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    build.install()
    said = ""
    try:
        build.run("tsc", "-p", folder, "--pretty", "false")
    except build.CommandError as error:
        said = str(error)
    found = defaultdict[str, list[str]](list)
    for name, told in re.findall(r"^(?:.*/)?([\w.-]+)\(\d+,\d+\): (error .*)$", said, re.MULTILINE):
        found[name].append(told)
    assert found or not said, said
    return found


def test_it_prints_each_public_function_and_each_type_once(small: str, run: Run) -> None:
    """Proves the file to the letter, and that what the module itself prints is not in it."""
    assert run("types", small) == (0, PRINTED, "this is printed while the module is imported\n")
    assert run("types", "small:functions").out == PRINTED


def test_it_prints_the_same_in_whatever_order(folder: Path, wide: str, run: Run) -> None:
    """Proves that neither the order of registration nor the seed of Python's hashes can be seen."""
    printed = run("types", wide).out
    module = importlib.import_module("wide")
    module.functions._functions = dict(reversed(module.functions._functions.items()))
    assert run("types", wide).out == printed
    other = subprocess.run(
        [sys.executable, "-m", "sojourn", "types", wide],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=folder,
        check=True,
        capture_output=True,
    )
    assert other.stdout.decode() == printed


@pytest.mark.row("F-C4")
def test_the_compiler_takes_right_calls_and_refuses_each_wrong_one(folder: Path, small: str, run: Run) -> None:
    """Proves it for each wrong call alone, in a file of its own."""
    wrong = {f"wrong-{number}.ts": f"{TOP}export const wrong = {call};\n" for number, call in enumerate(WRONG.values())}
    names = dict(zip(wrong, WRONG, strict=True))
    found = complaints(folder, {"api.d.ts": run("types", small).out, "right.ts": TOP + RIGHT, **wrong})
    assert {name: told for name, told in found.items() if name not in wrong} == {}
    assert [what for name, what in names.items() if len(found.get(name, [])) != 1] == []


def test_what_python_writes_and_reads_is_of_the_types(folder: Path, wide: str, run: Run) -> None:
    """Proves it by the compiler, for values of every kind of annotation, as they are on the wire."""
    printed = run("types", wide).out
    module = importlib.import_module("wide")
    lines = ['import type { Api } from "./api.js";', 'import type { ResultOf } from "sojourn-client/types";']
    for function in module.functions:
        if function.name in module.RESULTS:
            arguments = codec(object).dump(msgspec.to_builtins(module.ARGUMENTS[function.name]))
            function.signature.check(arguments)
            result = function.signature.dump(module.RESULTS[function.name])
            lines += [
                f'export const {function.name}: Api["{function.name}"]["args"] = {arguments.decode()};',
                f'export const {function.name}_result: ResultOf<Api["{function.name}"]> = {result.decode()};',
            ]
    assert complaints(folder, {"api.d.ts": printed, "values.ts": "\n".join(lines)}) == {}


def test_the_page_is_right(folder: Path, run: Run) -> None:
    """Proves that the program of the how-to compiles with the types of its application, which has the lines shown."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "type-your-browser-code.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(python|ts)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    (folder / "small.py").write_text(blocks["python"], encoding="utf-8")
    printed = run("types", "small:app").out
    lines = re.findall(
        r"^    (?!sojourn types)(.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    assert lines
    assert [line for line in lines if f"  {line}\n" not in printed] == []
    wrong = f'{blocks["ts"]}client.query("carts");\nclient.mutation("add_item", {{}});\nlines[0].colour;\n'
    assert {
        name: len(told)
        for name, told in complaints(
            folder, {"api.d.ts": printed, "right.ts": f"{blocks['ts']}export {{ lines, many }};\n", "wrong.ts": wrong}
        ).items()
    } == {"wrong.ts": 5}


@pytest.mark.row("F-L13")
def test_a_list_can_be_watched_in_pages(folder: Path, wide: str, run: Run) -> None:
    """Proves that what takes and returns pages in Python is taken by `watchPages`, with the type of its items."""
    right = (
        'client.watchPages("listed", { name: "a" }).state.results.map(([key, item]) => key + item.count.toFixed());\n'
    )
    wrong = 'client.watchPages("listed", {});\nclient.watchPages("board", { team: "a", role: "b" });\n'
    files = {"api.d.ts": run("types", wide).out, "right.ts": TOP + right, "wrong.ts": TOP + wrong}
    assert {name: len(told) for name, told in complaints(folder, files).items()} == {"wrong.ts": 2}


@pytest.mark.parametrize(
    "line",
    [
        # Two types of one name are told apart by where they are, and so is one of a name that the file itself uses.
        "export interface wide_Query {",
        "export interface wide_elsewhere_locals_Item {",
        "export interface wide_Item {",
        # A form for arguments there is where it differs, be it within.
        "export interface ItemInput {",
        "export interface BoxOfItem {",
        "  readonly value: ItemInput;",
        "export interface PlayerInput {",
        "  readonly rivals: readonly Player[];",
        # What may be missing even in a result.
        "  readonly note?: string;",
        "  readonly depth?: number;",
        "  readonly deep?: boolean;",
        # Enumerations, recursion, what has no names, names that are none.
        'export type Colour = "red" | "dark \\"blue\\"";',
        "  readonly children: readonly Tree[];",
        "export type Row = readonly [first: number, second: string];",
        "export type RowInput = readonly [first: number, second?: string];",
        '  readonly "dashed-name": number;',
        # What is said of a field; and what cannot be said.
        "  /** How many *\\/ of them. */",
        "  /** What is shown. */",
        "  foreign: Query<Record<string, never>, readonly (unknown /* wide.Foreign */)[]>;",
        "  anything: Action<{ [name: string]: unknown }, unknown>;",
        # What layers consume stands among the arguments; one that both declare is required if one says so.
        "  board: Query<{ limit?: number; role: string; team: string }, readonly string[]>;",
    ],
)
def test_the_types_of_everything(wide: str, run: Run, line: str) -> None:
    """Proves single lines of a file with everything in it."""
    assert line in run("types", wide).out.splitlines()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("small", "APP: 'small' is not of the form module:name"),
        (
            "absent:app",
            "APP: there is no module 'absent'; looked for absent.py in {folder} and among what is installed",
        ),
        ("small:apple", "APP: small has no 'apple'; its file is {folder}/small.py"),
        ("small:bare", "APP: small:bare serves no functions; they are given to it as App(..., functions=...)"),
        (
            "small:store",
            "APP: small:store is no sojourn.server.App and no sojourn.Functions but of type Store; name one",
        ),
        ("small:empty", "functions: none of them is public"),
        ("broken:functions", "lost: an annotation names what is not there: name 'Nowhere' is not defined"),
    ],
)
def test_what_has_no_types_is_said_in_one_line(folder: Path, small: str, run: Run, target: str, said: str) -> None:
    """Proves that each is one named error, and that nothing is printed that a compiler would take for types."""
    (folder / "broken.py").write_text(
        "from __future__ import annotations\nfrom small import functions\n"
        "@functions.query\nasync def lost(ctx, session_id, *, there: Nowhere) -> None: ...\n",
        encoding="utf-8",
    )
    ran = run("types", target)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith(f"sojourn: invalid: {said.format(folder=folder)}")
