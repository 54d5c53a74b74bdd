"""From a URL to a store: what no engine answers to is one named error, before any I/O."""

import sys
import traceback

import pytest

import sojourn
from sojourn.errors import InvalidError, MissingExtraError


@pytest.mark.parametrize(
    "url",
    ["", "app.db", "mysql://x", "sqlite://", "sqlite:///", "sqlite://host/app.db", "sqlite://[", "x" * 10_000 + ":"],
)
def test_a_url_that_names_no_store_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidError, match="url") as caught:
        sojourn.open(url)
    assert len(str(caught.value)) < 300


def test_what_is_wrong_with_a_url_is_said_without_its_password() -> None:
    url = "redis://ann:hunter2\u2100@cache"
    with pytest.raises(InvalidError, match="not a URL") as caught:
        sojourn.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "driver", "extra"), [("postgresql://db/app", "psycopg", "postgres"), ("redis://cache", "hiredis", "redis")]
)
def test_without_its_driver_an_engine_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, url: str, driver: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(f"sojourn.engines.{extra}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(MissingExtraError, match=f"{driver} is not installed.*sojourn\\[{extra}\\]"):
        sojourn.open(url)


@pytest.mark.parametrize("name", ["a" * 300, "no such folder/app.db", "."])
async def test_a_path_that_cannot_be_a_file_is_refused_by_name(name: str, tmp_path: object) -> None:
    with pytest.raises(InvalidError, match="path"):
        await sojourn.open(f"sqlite:///{tmp_path}/{name}")
