"""Tracing: the seam for distributed traces, device -> cloud -> embedding server and store.

``shared.otel`` is the OpenTelemetry side of it. OpenTelemetry's own API has such a seam, but a
device would need one more package for it (ADR 0023).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

Traces = Literal["off", "otlp"]
SpanKind = Literal["internal", "client", "server"]
Attribute = str | int | float | bool


class Span:
    """One timed step of a trace; this one keeps nothing."""

    def set(self, name: str, value: Attribute) -> None:
        """Add an attribute."""


class Tracing:
    """Makes spans; one without ``parent`` belongs to the span around it, if there is one.

    These are kept nowhere: tracing is off, and then free.
    """

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
        return nullcontext(Span())

    def headers(self) -> dict[str, str]:
        """What a request made within the span around the caller must carry (W3C trace context);
        empty outside any."""
        return {}

    def close(self) -> None:
        """Send what is still held."""
