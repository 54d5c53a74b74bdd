"""The URL of a store: what it may say, and what is said when it is wrong."""

import traceback
from pathlib import Path

import pytest

from sojourn.engines.redis import RedisEngine
from sojourn.engines.redis.location import Location, locate
from sojourn.engines.redis.slots import Address
from sojourn.errors import InvalidError

SECRET = "hunter2"  # noqa: S105  the very thing that no message may tell
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("redis://host", [("host", 6379)]),
        ("redis://host:1", [("host", 1)]),
        ("redis://127.0.0.1:65535/", [("127.0.0.1", 65535)]),
        ("redis://[::1]", [("::1", 6379)]),
        ("redis://[::1]:7000", [("::1", 7000)]),
        ("redis://user:p%40ss@host:7000/2", [("host", 7000)]),
        ("redis+cluster://a:1,b:2,[::1]:3", [("a", 1), ("b", 2), ("::1", 3)]),
        ("rediss+cluster://a", [("a", 6379)]),
    ],
)
def test_the_hosts(url: str, addresses: list[tuple[str, int]]) -> None:
    assert locate(url).addresses == tuple(Address(*address) for address in addresses)


def test_all_that_a_url_says() -> None:
    location = locate("redis://me:p%3A%40%2Fss@host/3?prefix=shop")
    access = location.access
    assert (access.username, access.password, access.database, access.tls) == ("me", "p:@/ss", 3, None)
    assert (location.prefix, location.is_cluster) == ("shop", False)


def test_what_a_url_leaves_out() -> None:
    location = locate("redis://host")
    access = location.access
    assert (access.username, access.password, access.database, location.prefix) == (None, None, 0, "sojourn")
    assert locate(f"redis://:{SECRET}@host").access.password == SECRET
    assert locate("redis+cluster://host").is_cluster


def test_tls_checks_the_certificate_and_the_name() -> None:
    tls = locate(f"rediss://host?ssl_ca_certs={CERTIFICATE}").access.tls
    assert tls is not None
    assert tls.check_hostname
    assert tls.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"redis://user:{SECRET}@", "no host"),
        (f"redis://:{SECRET}@host:0", "port"),
        (f"redis://:{SECRET}@host:70000", "port"),
        (f"redis://:{SECRET}@host:six", "port"),
        (f"redis://:{SECRET}@host:²", "port"),
        (f"redis://{SECRET}@host", "without a password"),
        (f"redis://:{SECRET}@host/one", "number of a database"),
        (f"redis://:{SECRET}@host/-1", "number of a database"),
        (f"redis://:{SECRET}@a,b", "cluster"),
        (f"redis+cluster://:{SECRET}@a,b/1", "database 0"),
        (f"redis://:{SECRET}@a,", "cluster|no host"),
        (f"redis+cluster://:{SECRET}@a,,b", "no host"),
        (f"redis://:{SECRET}@host?prefix=", "prefix"),
        (f"redis://:{SECRET}@host?prefix=a%7Bb", "prefix"),
        (f"redis://:{SECRET}@host?prefix=a:b", "prefix"),
        (f"redis://:{SECRET}@host?prefix=a%0Ab", "prefix"),
        (f"redis://:{SECRET}@host?prefix={'x' * 65}", "prefix"),
        (f"redis://:{SECRET}@host?prefix=a&prefix=b", "twice"),
        (f"redis://:{SECRET}@host?timeout=5", "timeout.*known are prefix"),
        (f"redis://:{SECRET}@host?prefix", "name=value"),
        (f"redis://:{SECRET}@host#1", "%23"),
        (f"redis://user:?{SECRET}@host", "%3F"),
        (f"redis://user:?{SECRET}=1@host", "%3F"),
        (f"redis://user:1/?{SECRET}&x=1@host", "%3F"),
        (f"redis://:{SECRET}\udcff@host", "not a URL"),
        (f"redis://:{SECRET}@host?prefix=\udcff", "not a URL"),
        (f"redis://:{SECRET}@host?ssl_ca_certs=/none", "rediss"),
        (f"rediss://:{SECRET}@host?ssl_ca_certs=/none", "certificate's file"),
        (f"rediss://:{SECRET}@host?ssl_certfile=/none", "certificate's file"),
        (f"redis://:{SECRET}@{'x' * 70}", "no name that a host can have"),
        (f"redis://:{SECRET}@[::1", "not a URL"),
        (f"redis://:{SECRET}@ho\N{ACCOUNT OF}st", "not a URL"),
        (f"unix://:{SECRET}@/tmp/socket", "scheme must be"),
        (f"redis+sentinel://:{SECRET}@host", "scheme must be"),
        ("", "scheme must be"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(url: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        RedisEngine(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value)).replace(url, "")


def test_no_repr_tells_the_password() -> None:
    location: Location = locate(f"redis://me:{SECRET}@host")
    assert SECRET not in repr(location)


async def test_making_an_engine_does_no_io() -> None:
    engine = RedisEngine("redis://nobody.invalid:1")
    said = engine.describe()
    assert (said.engine, said.durable, said.cross_partition) == ("redis", False, True)
    assert not RedisEngine("redis+cluster://nobody.invalid").describe().cross_partition
    await engine.close()
