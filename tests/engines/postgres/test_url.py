"""What a URL may say, and that no message ever says it again."""

from __future__ import annotations

import pytest
from psycopg import conninfo

from sojourn import limits
from sojourn.engines.postgres import PostgresEngine
from sojourn.engines.postgres.url import parse
from sojourn.errors import InvalidError

PLACE = "postgresql://user@host/database"


def test_ours_are_taken_out_and_the_rest_is_left_to_libpq() -> None:
    target = parse(f"{PLACE}?sslmode=verify-full&schema=shop&application_name=a+b&pooled=true&connect_timeout=9")
    options = conninfo.conninfo_to_dict(target.conninfo)
    assert (target.schema, target.pooled) == ("shop", True)
    assert (options["host"], options["user"], options["dbname"]) == ("host", "user", "database")
    assert (options["sslmode"], options["application_name"], options["connect_timeout"]) == ("verify-full", "a+b", "9")
    assert "schema" not in options


def test_a_plain_url_has_the_schema_sojourn_and_waits_for_no_host_for_ever() -> None:
    target = parse(PLACE)
    options = conninfo.conninfo_to_dict(target.conninfo)
    assert (target.schema, target.pooled) == ("sojourn", False)
    assert options["connect_timeout"] == str(limits.POSTGRES_CONNECT.total_seconds())[:-2]
    assert int(str(options["tcp_user_timeout"])) == limits.POSTGRES_ANSWER.total_seconds() * 1_000


def test_several_hosts_and_a_socket_are_named_as_libpq_has_it() -> None:
    several = conninfo.conninfo_to_dict(parse("postgres://u@a:1,b:2/d?target_session_attrs=read-write").conninfo)
    assert (several["host"], several["port"]) == ("a,b", "1,2")
    assert conninfo.conninfo_to_dict(parse("postgresql:///d?host=/run/pg").conninfo)["host"] == "/run/pg"


def test_a_percent_encoded_password_is_decoded_once() -> None:
    target = parse("postgresql://u:p%40%2F%3A%3F%23%2520@host/d")
    assert conninfo.conninfo_to_dict(target.conninfo)["password"] == "p@/:?#%20"  # noqa: S105  invented


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:se@cret@host/d",
        "postgresql://user:se/cret@host/d",
        "postgresql://user:12/secret@host/d",
        "postgresql://user:se?cret@host/d",
        "postgresql://user:se#cret@host/d",
        "postgresql://user:secret%@host/d",
        "postgresql://user:secret%zz@host/d",
        "postgresql://user:secret%ff@host/d",
        "postgresql://user:secret%00@host/d",
        "postgresql://user:secret\0@host/d",
        "postgresql://user:secret\ud800@host/d",
        "postgresql://user:secret@host/d?application_name=%00",
        "postgresql://user:secret@host/d?application_name=\ud800",
        "postgresql://user:secret@[host/d",
        "postgresql://user:secret@host:port/d",
        "postgresql://user:secret@host/d?sslmood=require",
        "postgresql://user:secret@host/d?secret",
        "postgresql://user:secret@host/d?schema=Se-Cret",
        "postgresql://user:secret@host/d?schema=",
        "postgresql://user:secret@host/d?pooled=secret",
        "postgres:secret",
        "redis://user:secret@host/0",
    ],
)
def test_what_is_no_url_of_ours_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidError, match=r"\w+: \w+") as caught:
        PostgresEngine(url)
    assert "cret" not in str(caught.value).lower()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(InvalidError, match="'sslmood'"):
        parse(f"{PLACE}?sslmood=require")


def test_a_target_does_not_show_how_it_is_reached() -> None:
    assert "secret" not in repr(parse("postgresql://user:secret@host/d"))
