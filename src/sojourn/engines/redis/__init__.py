"""The Redis engine: speed, many processes and machines, and scale-out by a cluster. Valkey is as good.

Every commit is one script on the server, so it is one round trip, and applies whole or not at all. What is kept there
is said in `keyspace.py`; the scripts are in `lua/`.
"""

from __future__ import annotations

from sojourn.errors import MissingExtraError

try:
    from sojourn.engines.redis.engine import RedisEngine
except ModuleNotFoundError as error:
    if error.name != "hiredis":
        raise
    raise MissingExtraError("redis", "hiredis") from error

__all__ = ["RedisEngine"]
