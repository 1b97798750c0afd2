"""Traces: off and free by default; device, cloud, embedder and store in one when they are on."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud_service.app import create_app
from cloud_service.embedding.vllm import VllmEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.link import CloudLink, RefreshFailed
from device_runtime.cloud.transport import AsgiTransport, TransportError
from device_runtime.settings import LinkSettings
from shared.errors import ConfigError
from shared.otel import OtelTracing, open_tracing
from shared.tracing import Tracing
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.embedding_server import EmbeddingServer
from tests.support.transports import ScriptedTransport


def recorded(service: str) -> tuple[OtelTracing, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return OtelTracing(service, SimpleSpanProcessor(exporter)), exporter


def test_off_by_default_and_nothing_is_sent() -> None:
    assert open_tracing("off", "scalrec-cloud") is None
    tracing = Tracing()
    with tracing.span("x") as span:
        span.set("scalrec.outcome", "fresh")
        assert tracing.headers() == {}


def test_traces_without_opentelemetry_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install scalrec\[otel\].*telemetry.traces=off"):
        open_tracing("otlp", "scalrec-cloud")


async def test_one_trace_from_the_device_to_the_embedding_server_and_the_store(
    tmp_path: Path,
) -> None:
    (device_side, device_spans), (cloud_side, cloud_spans) = recorded("device"), recorded("cloud")
    bundle = make_bundle(tmp_path / "bundle")
    async with EmbeddingServer().up() as server:
        embedder = VllmEmbedder(
            server.url, model="hashing-16", pooling="MEAN", trace_headers=cloud_side.headers
        )
        app = create_app(
            cloud_settings(),
            bundle=bundle,
            embedder=embedder,
            store=MemorySnapshotStore(),
            telemetry=quiet()[0],
            tracing=cloud_side,
        )
        device = new_device(bundle, "a-very-private-name")
        observe(device, [1, 2, 3])
        async with LifespanManager(app):
            link = CloudLink(AsgiTransport(app), LinkSettings(), tracing=device_side)
            result = await device.refresh(link, CONTEXT)
            assert result is not None
            assert result.outcome == "fresh"
        await link.aclose()
        await embedder.aclose()
    (refresh,) = device_spans.get_finished_spans()
    trace_id = refresh.context.trace_id
    spans = {s.name: s for s in cloud_spans.get_finished_spans() if s.context.trace_id == trace_id}
    assert set(spans) == {"request", "embed", "store.put"}
    assert parent_of(spans["request"]) == refresh.context.span_id
    assert parent_of(spans["embed"]) == spans["request"].context.span_id
    assert parent_of(spans["store.put"]) == spans["request"].context.span_id
    attributes = spans["request"].attributes or {}
    assert attributes["scalrec.refresh_id"] == result.refresh_id
    assert attributes["http.route"] == "/v1/users/{user}/snapshot"
    assert attributes["http.response.status_code"] == 200
    # The embedding server was handed the same trace, within the span around its call.
    sent = f"{trace_id:032x}-{spans['embed'].context.span_id:016x}"
    assert any(sent in header for header in server.traceparents)
    told = [str(span.attributes) for span in (refresh, *spans.values())]
    assert not any("private" in words for words in told)


async def test_a_failed_refresh_is_a_failed_span() -> None:
    tracing, spans = recorded("device")
    link = CloudLink(
        ScriptedTransport([TransportError("gone")]), LinkSettings(attempts=1), tracing=tracing
    )
    with pytest.raises(RefreshFailed):
        await link.refresh("ann", "words", 1, "b")
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_spans_tell_no_secret_of_an_address() -> None:
    tracing, spans = recorded("cloud")
    address = "redis://ann:canary7d1f@host/0?key=canary7d1f"
    with suppress(ValueError), tracing.span("store", attributes={"from": address}) as span:
        span.set("scalrec.where", address)
        raise ValueError(f"no answer from {address}")
    [ended] = spans.get_finished_spans()
    told = str(ended.to_json())
    assert "no answer from redis://" in told
    assert "ValueError" in told
    assert "canary7d1f" not in told
    assert not ended.status.is_ok
