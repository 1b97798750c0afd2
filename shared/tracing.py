"""Tracing: the seam for distributed traces, device -> cloud -> embedding server and store.

Off by default and then free. ``shared.otel`` is the OpenTelemetry side of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

from shared.errors import ConfigError

Traces = Literal["off", "otlp"]
SpanKind = Literal["internal", "client", "server"]
Attribute = str | int | float | bool


class Span(Protocol):
    """One timed step of a trace."""

    def headers(self) -> dict[str, str]:
        """What a request made within the span must carry (W3C trace context)."""

    def set(self, name: str, value: Attribute) -> None:
        """Add an attribute."""


class Tracing(Protocol):
    """Makes spans; one without ``parent`` belongs to the span around it, if there is one."""

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = "internal",
        parent: Mapping[str, str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> AbstractContextManager[Span]:
        """A span for the block; an exception that leaves the block marks it as failed.

        Args:
            parent: headers of a request, whose trace is continued.
        """

    def headers(self) -> dict[str, str]:
        """Trace context of the span around the caller; empty outside any."""

    def close(self) -> None:
        """Send what is still held."""


class _NoSpan:
    def headers(self) -> dict[str, str]:
        return {}

    def set(self, name: str, value: Attribute) -> None:
        """Nothing is kept."""


class NoTracing:
    """Keeps nothing."""

    def __init__(self) -> None:
        self._span = _NoSpan()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind = "internal",
        parent: Mapping[str, str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Iterator[Span]:
        yield self._span

    def headers(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


def open_tracing(traces: Traces, service: str) -> Tracing | None:
    """Tracing as ``telemetry.traces`` wants it; None when it is off. The caller closes it.

    Raises ConfigError when traces are wanted and OpenTelemetry is not installed.
    """
    if traces == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from shared.otel import OtelTracing
    except ImportError as error:
        raise ConfigError(
            f"telemetry.traces is {traces}, but {error.name} is not installed: run "
            "`pip install scalrec[otel]`, or set telemetry.traces=off"
        ) from error
    return OtelTracing(service, BatchSpanProcessor(OTLPSpanExporter()))
