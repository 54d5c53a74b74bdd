"""Real servers for the tests: PostgreSQL, Valkey, Redis and a Redis cluster, from the wheels of the tests.

    url = shared("postgres18")                     # the run's own, started when first asked for

    with Postgres(18) as server:                   # one's own, to kill, freeze and start again
        store = sojourn.open(server.url(schema="mine"))
        server.kill()
        server.start()

A server of somebody else is used instead of a shared one when the environment names it, as in
`SOJOURN_TEST_POSTGRES18_URL`. What is not installed is an error with the command that installs it, never a skipped
test.
"""

from tests.servers.binaries import NotInstalledError
from tests.servers.postgres import Postgres
from tests.servers.process import ServerError
from tests.servers.redis import DURABLE, Redis
from tests.servers.sharing import NAMES, Name, shared, sharing
from tests.servers.stores import fresh, leave, remove

__all__ = [
    "DURABLE",
    "NAMES",
    "Name",
    "NotInstalledError",
    "Postgres",
    "Redis",
    "ServerError",
    "fresh",
    "leave",
    "remove",
    "shared",
    "sharing",
]
