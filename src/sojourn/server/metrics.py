"""What a process counts, as Prometheus reads it; for who has `sojourn[metrics]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sojourn.errors import MissingExtraError
from sojourn.kernel import Store
from sojourn.server.exchange import Answer, Request
from sojourn.server.hub import Hub
from sojourn.visits import Judge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Metrics"]

_KIND: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The route that Prometheus scrapes: what a store counts, what is live, and which visitors were filtered."""

    def __init__(self, store: Store, judge: Judge, hub: Hub) -> None:
        self._store = store
        self._judge = judge
        self._hub = hub

    async def show(self, _: Request) -> Answer:
        """Show the counts of this process.

        Raises:
            MissingExtraError: `prometheus-client` is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  optional
        except ModuleNotFoundError as error:
            raise MissingExtraError("metrics", "prometheus-client") from error
        registry = CollectorRegistry(auto_describe=False)  # of our own: what the application counts is its affair
        registry.register(self)
        return Answer(200, generate_latest(registry), kind=_KIND)

    def collect(self) -> Iterator[Metric]:
        """Yield one family of samples for each kind of number."""
        from prometheus_client.core import (  # noqa: PLC0415  optional
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        counts = self._store.statistics()
        became = CounterMetricFamily("sojourn_transactions", "What became of transactions.", labels=["outcome"])
        for outcome in ("commits", "conflicts", "refused", "unavailable", "unknown", "failed"):
            became.add_metric([outcome], getattr(counts, outcome))
        yield became
        for name, help_text, value in (
            ("transactions_repeated", "Commits that an earlier delivery had applied.", counts.repeated),
            ("reads", "Reads of keys and spans.", counts.reads),
            ("batches", "Batches that carried transactions to the engine.", counts.batches),
            ("batch_seconds", "Seconds that these took, added up.", counts.busy_seconds),
            ("live_transitions", "Transitions that were sent over live connections.", self._hub.transitions),
        ):
            yield CounterMetricFamily(f"sojourn_{name}", help_text, value=value)
        for name, help_text, value in (
            ("batch_transactions_max", "Transactions of the largest batch.", counts.largest_batch),
            ("waiting_transactions", "Transactions that wait for a batch now.", counts.waiting_transactions),
            ("waiting_bytes", "Bytes of these.", counts.waiting_bytes),
            ("live_connections", "Live connections that are open now.", self._hub.connections),
        ):
            yield GaugeMetricFamily(f"sojourn_{name}", help_text, value=value)
        filtered = CounterMetricFamily("sojourn_visits_filtered", "Visitors who were not tracked.", labels=["reason"])
        for reason, count in self._judge.counts().items():
            filtered.add_metric([reason], count)
        yield filtered
        engine = self._store.describe()
        yield InfoMetricFamily("sojourn_store", "The engine.", {"engine": engine.engine, "version": engine.version})
