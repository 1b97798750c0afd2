"""Telemetry: metrics and log lines of one app. Nothing here is global."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from cloud_service.telemetry.metrics import Metrics
from shared.addresses import masked_line
from shared.line_rates import LineRates

# What every log line made for a request says besides; whoever learns more of it adds to the dict.
request_fields: ContextVar[dict[str, str]] = ContextVar("request_fields")


@dataclass(frozen=True)
class Telemetry:
    """What the parts of one app report to."""

    metrics: Metrics
    log: FilteringBoundLogger

    @classmethod
    def create(cls, *, level: str = "info", stream: TextIO | None = None) -> Telemetry:
        """Fresh metrics, and a logger to ``stream`` (default stderr): JSON, or words on a tty."""
        return cls(Metrics(), create_logger(level=level, stream=stream))


def create_logger(*, level: str = "info", stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger independent of structlog's global configuration. Levels as in ``logging``.

    Warnings and errors come as often as requests fail: of each kind a bounded number is written.
    """
    target = sys.stderr if stream is None else stream
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if target.isatty()
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(target),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        processors=[
            _of_request,
            structlog.processors.add_log_level,
            _Bounded(LineRates(time.monotonic)),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            masked_line,
            renderer,
        ],
    ).bind()  # what wrap_logger returns makes a logger anew for every line, even for one left out
    return logger


class _Bounded:
    """A structlog processor: leaves out what exceeds the rates of its event."""

    def __init__(self, rates: LineRates):
        self._rates = rates

    def __call__(
        self, _: Any, level: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if level in ("debug", "info") or line.get("audit"):  # the audit has rates of its own
            return line
        left_out = self._rates.take(line["event"])
        if left_out is None:
            raise structlog.DropEvent
        return {**line, "left_out": left_out} if left_out else line


def _of_request(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor."""
    return {**request_fields.get({}), **line}
