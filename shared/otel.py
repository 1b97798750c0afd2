"""OtelTracing: spans through OpenTelemetry, which is an optional extra (``scalrec[otel]``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.tracing import Attribute, Span, SpanKind

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "client": trace.SpanKind.CLIENT,
    "server": trace.SpanKind.SERVER,
}


class _OtelSpan:
    def __init__(self, tracing: OtelTracing, span: trace.Span):
        self._tracing = tracing
        self._span = span

    def headers(self) -> dict[str, str]:
        return self._tracing.headers()

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)


class OtelTracing:
    """Spans of one service. Nothing global is set, so that several live in one process.

    Args:
        service: its name in the traces.
        processor: where ended spans go.
    """

    def __init__(self, service: str, processor: SpanProcessor):
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
            name, context=context, kind=_KINDS[kind], attributes=dict(attributes or {})
        ) as span:
            yield _OtelSpan(self, span)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def close(self) -> None:
        self._provider.shutdown()
