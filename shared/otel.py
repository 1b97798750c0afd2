"""OtelTracing: spans through OpenTelemetry, whose SDK is an optional extra (``scalrec[otel]``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.addresses import masked
from shared.errors import ConfigError
from shared.tracing import Attribute, Span, SpanKind, Traces, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "client": trace.SpanKind.CLIENT,
    "server": trace.SpanKind.SERVER,
}


def _told(value: Attribute) -> Attribute:
    """Spans leave this machine: they must not quote the secrets of an address."""
    return masked(value) if isinstance(value, str) else value


class _OtelSpan(Span):
    def __init__(self, span: trace.Span):
        self._span = span

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, _told(value))


class OtelTracing(Tracing):
    """Spans of one service. Nothing global is set, so that several live in one process.

    Args:
        service: its name in the traces.
        processor: where ended spans go.
    """

    def __init__(self, service: str, processor: SpanProcessor):
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("scalrec")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind = "internal",
        parent: Mapping[str, str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Iterator[Span]:
        context = None if parent is None else self._propagator.extract(parent)
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes={name: _told(value) for name, value in (attributes or {}).items()},
            # Below, without the secrets of addresses that its words may quote.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _OtelSpan(span)
            except Exception as error:
                words = masked(str(error))
                span.add_event(
                    "exception",
                    {"exception.type": type(error).__name__, "exception.message": words},
                )
                span.set_status(trace.StatusCode.ERROR, f"{type(error).__name__}: {words}")
                raise

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def close(self) -> None:
        self._provider.shutdown()


def open_tracing(traces: Traces, service: str) -> Tracing | None:
    """Tracing as the settings want it; None when it is off. The caller closes it.

    Args:
        traces: ``telemetry.traces``.
        service: its name in the traces.

    Raises:
        ConfigError: traces are wanted and OpenTelemetry's SDK is not installed.
    """
    if traces == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"telemetry.traces is {traces}, but {error.name} is not installed: run "
            "`pip install scalrec[otel]`, or set telemetry.traces=off"
        ) from error
    return OtelTracing(service, BatchSpanProcessor(OTLPSpanExporter()))
