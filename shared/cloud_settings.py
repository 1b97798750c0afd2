"""The cloud service and its telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from shared.settings_section import Section


class CloudSettings(Section):
    """The cloud service."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535, description="0 picks a free port")
    redis_url: SecretStr | None = Field(
        default=None, description="unset: a redis-server is started as a child"
    )
    candidates: int = Field(default=100, ge=1, description="N of SCaLRec eq. 7")
    candidates_from: Literal["semantic", "generative"] = Field(
        default="semantic",
        description="semantic: the items nearest to e_sem; generative: those that the bundle's "
        "generator writes after the item tokens a device sends (abstract.item_tokens), semantic "
        "for a device that sends none",
    )
    snapshot_ttl_s: float = Field(default=7 * 86400.0, gt=0)
    auth: Literal["required", "off"] = Field(
        default="required",
        description="whether callers must show a token of the user they ask about; off is for a "
        "network that lets nobody else in",
    )
    auth_keys: SecretStr | None = Field(
        default=None,
        description="keys of device tokens, KID:BASE64URL, comma between; the first signs, all "
        "are accepted (`scalrec token keygen`)",
    )
    auth_keys_file: Path | None = Field(default=None, description="file with them, one a line")
    token_ttl_s: float = Field(default=86400.0, ge=1, description="life of tokens made here")
    admin_host: str = Field(
        default="127.0.0.1", description="where /metrics and the API's description are listened for"
    )
    admin_port: int | None = Field(
        default=None, ge=0, le=65535, description="unset: the next one after port; 0 a free one"
    )
    device_requests_per_minute: float = Field(
        default=120.0, ge=0, description="of one device, lasting; then 429. 0 sets no limit"
    )
    device_burst: int = Field(default=60, ge=1, description="of one device at once")
    reorder_window_s: float = Field(
        default=60.0,
        gt=0,
        description="a stored snapshot this much older than a new one gives way to it, whatever "
        "step it claims; above the longest time a refresh takes",
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        default="info", description="debug also logs every request"
    )
    max_in_flight: int = Field(default=64, ge=1, description="snapshot computations at once")
    max_waiting: int = Field(default=128, ge=0, description="further ones that may wait; then 429")
    retry_after_s: float = Field(default=1.0, gt=0)
    store_deadline_s: float = Field(default=1.0, gt=0)


class TelemetrySettings(Section):
    """Traces across device, cloud, embedding server and store."""

    traces: Literal["off", "otlp"] = Field(
        default="off", description="otlp needs `pip install scalrec[otel]`"
    )
    otlp_endpoint: str = Field(
        default="http://127.0.0.1:4318/v1/traces", description="of the collector, OTLP over HTTP"
    )
