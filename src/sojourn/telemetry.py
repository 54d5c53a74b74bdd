"""Traces by OpenTelemetry, for who has `sojourn[otel]`: one span for each batch on its way to the engine.

store = sojourn.open("sqlite:///app.db", observers=[Tracing()])
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sojourn.errors import MissingExtraError
from sojourn.kernel.statistics import Trip

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, TracerProvider, get_tracer
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "opentelemetry":
        raise
    raise MissingExtraError("otel", "opentelemetry-api") from error

__all__ = ["Tracing"]


class Tracing:
    """Makes a span named `sojourn.commit` of each batch, with what is in it and what became of it, by numbers only.

    A batch carries the transactions of many callers, so its span begins a trace of its own. What an engine's driver
    traces meanwhile is in it. Without a `provider` it is the application's.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("sojourn", tracer_provider=provider)

    @contextmanager
    def trip(self, trip: Trip) -> Generator[None]:
        """Trace one trip. A batch that failed as a whole is recorded as an error."""
        attributes = {"sojourn.transactions": trip.transactions, "sojourn.bytes": trip.size}
        with self._tracer.start_as_current_span(
            "sojourn.commit", context=Context(), kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            yield
            span.set_attributes({f"sojourn.{word}": count for word, count in trip.outcomes.items()})
