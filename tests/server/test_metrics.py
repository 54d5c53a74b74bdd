"""What a server counts, and who may see it."""

import sys

import httpx
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from sojourn.errors import UnavailableError
from sojourn.kernel import Store
from sojourn.server import App, bearer
from sojourn.visits import Visits

from .conftest import Browse, error

TOKEN = "correct-horse-battery-staple"  # noqa: S105  it opens nothing


@pytest.fixture
def app(store: Store) -> App:
    return App(store, visits=Visits(store), admin=bearer(TOKEN), origins=["http://shop.example"])


def samples(answer: httpx.Response) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus understands them."""
    return {
        "/".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_what_the_store_and_the_judge_count_is_shown(browse: Browse, app: App) -> None:
    client = await browse(app)
    await client.post("/visit", json={}, headers={"user-agent": "Googlebot"})
    answer = await client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert answer.headers.get_list("content-type", split_commas=True) == [answer.headers["content-type"]]
    shown = samples(answer)
    assert shown["sojourn_transactions_total/commits"] >= 1
    assert shown["sojourn_batches_total"] >= 1
    assert shown["sojourn_waiting_transactions"] == 0
    assert shown["sojourn_visits_filtered_total/bot"] == 1
    assert (shown["sojourn_live_connections"], shown["sojourn_live_transitions_total"]) == (0, 0)
    assert shown[f"sojourn_store_info/{app.store.describe().engine}/{app.store.describe().version}"] == 1


async def test_nothing_of_the_application_is_shown(browse: Browse, app: App) -> None:
    shown = samples(await (await browse(app)).get("/metrics"))
    assert all(name.startswith("sojourn_") for name in shown)
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("sojourn")]


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {"host": "[::1]:8000"}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("203.0.113.1", {}, 404),
        ("", {}, 404),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, 404),
        ("127.0.0.1", {"X-Forwarded-For": ""}, 404),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, 404),
        ("127.0.0.1", {"x-real-ip": "127.0.0.1"}, 404),
        ("127.0.0.1", {"x-forwarded-proto": "https"}, 404),
        ("127.0.0.1", {"via": "1.1 proxy"}, 404),
        ("127.0.0.1", {"host": "shop.example"}, 404),
        ("203.0.113.1", {"x-forwarded-for": "127.0.0.1"}, 404),
        ("203.0.113.1", {"authorization": f"Bearer {TOKEN}"}, 200),
        ("203.0.113.1", {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": "203.0.113.2"}, 200),
        ("203.0.113.1", {"authorization": "Bearer wrong"}, 404),
    ],
)
async def test_only_this_machine_and_operators_may_see_it(
    app: App, client: str, headers: dict[str, str], status: int
) -> None:
    transport = httpx.ASGITransport(app, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asker:
        answer = await asker.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert status == 200 or answer.text == (await asker.get("/nothing", headers=headers)).text


async def test_without_visits_the_store_is_counted_all_the_same(browse: Browse, store: Store) -> None:
    assert "sojourn_reads_total" in samples(await (await browse(App(store))).get("/metrics"))


async def test_without_prometheus_client_it_says_how_to_install_it(
    browse: Browse, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = await (await browse(app)).get("/metrics")
    assert (answer.status_code, error(answer)["code"]) == (501, "extra_missing")
    assert "pip install 'sojourn[metrics]'" in error(answer)["message"]


async def test_it_is_shown_while_the_store_is_away(
    browse: Browse, store: Store, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise UnavailableError("away")

    client = await browse(app)
    monkeypatch.setattr(store, "run", away)
    assert (await client.get("/metrics")).status_code == 200
