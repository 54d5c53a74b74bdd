"""What the command line says of a store's URL."""

import pytest

from sojourn.cli.stores import shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///app.db", "sqlite:///app.db"),
        ("postgresql://ann@db/app", "postgresql://ann@db/app"),
        ("postgresql://ann:hunter2@db/app?schema=s", "postgresql://ann:…@db/app?schema=s"),
        ("postgresql://ann:p%40ss%3Aw@db:5432/app", "postgresql://ann:…@db:5432/app"),
        ("postgresql://db/app?user=ann&password=hunter2&x=1", "postgresql://db/app?user=ann&password=…&x=1"),
        ("postgresql://db/app?sslpassword=hunter2", "postgresql://db/app?sslpassword=…"),
        ("redis://:hunter2@cache:6379/0", "redis://:…@cache:6379/0"),
        ("redis://ann:p@ss:word@cache/0", "redis://ann:…@cache/0"),
        ("redis+cluster://ann:hunter2@a:1,b:2/?prefix=p", "redis+cluster://ann:…@a:1,b:2/?prefix=p"),
        ("memory:", "memory:"),
    ],
)
def test_no_password_is_shown(url: str, said: str) -> None:
    assert shown(url) == said
