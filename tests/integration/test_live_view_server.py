"""The live view over real sockets: who may drive a run, who may report one, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec
import pytest

from loadtest.dashboard.app import LiveView
from loadtest.dashboard.bins import Bin
from loadtest.dashboard.feed import Feed
from loadtest.dashboard.hub import Hub
from loadtest.dashboard.messages import MOST_BINS, TOKEN_HEADER
from loadtest.dashboard.preparation import ShownProgress
from loadtest.dashboard.push import HttpSink
from loadtest.dashboard.server import LiveServer
from shared.errors import ConfigError
from shared.progress import NullProgress
from tests.support.live_records import facts, request, tick, update
from tests.support.servers import free_port

SECRET = "of the fleet"


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[httpx.Client]:
    view = LiveView(hub, tmp_path, ingest_token=SECRET)
    with (
        LiveServer(view, "127.0.0.1", 0) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        yield client


def token_of(client: httpx.Client) -> str:
    page = client.get("/")
    assert page.status_code == 200
    found = re.search(r'name="token" content="([^"]{20,})"', page.text)
    assert found is not None
    return found[1]


def ask(client: httpx.Client, change: dict[str, Any], **headers: str) -> httpx.Response:
    given = {TOKEN_HEADER: token_of(client)} | {k.replace("_", "-"): v for k, v in headers.items()}
    return client.post("/control", json=change, headers=given)


def test_a_change_needs_the_pages_token_and_origin(hub: Hub, client: httpx.Client) -> None:
    hub.offer(update())
    assert ask(client, {"cloud": "down"}).status_code == 200
    assert client.get("/state").json()["wish"]["cloud"] == "down"
    own = str(client.base_url).rstrip("/")
    assert ask(client, {"cloud": "up"}, origin=own).status_code == 200
    for headers in (
        {TOKEN_HEADER: "wrong"},
        {TOKEN_HEADER: SECRET},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
    ):
        refused = ask(client, {"cloud": "down"}, **headers)
        assert refused.status_code == 403, headers
        assert refused.headers["content-type"] == "application/problem+json"
    assert client.post("/control", json={"cloud": "down"}).status_code == 403
    assert client.get("/state").json()["wish"]["cloud"] == "up"


def test_a_foreign_name_for_this_machine_is_refused(hub: Hub, client: httpx.Client) -> None:
    hub.offer(update())
    for path in ("/", "/state", "/events", "/runs/run/report"):
        assert client.get(path, headers={"host": "evil.example"}).status_code == 421
    assert ask(client, {"k": 3}, host="evil.example:80").status_code == 421
    for no_name in ("[", "[::1", "[x]"):
        assert client.get("/", headers={"host": no_name}).status_code == 421
    assert client.get("/", headers={"host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 400),
        ({"cloud": "sideways"}, 400),
        ({"k": 0}, 400),
        ({"k": 1, "calibrate": True}, 400),
        ({"other": 1}, 400),
        ({"k": 3}, 409),
    ],
)
def test_what_cannot_be_done_is_said(
    hub: Hub, client: httpx.Client, change: dict[str, Any], status: int
) -> None:
    hub.offer(update(facts=facts(k=None, policy="never")))
    answer = ask(client, change)
    assert answer.status_code == status
    assert len(answer.json()["title"]) > 10
    assert client.get("/state").json()["wish"] == {
        "cloud": "planned", "k": None, "calibrate": True
    }  # fmt: skip


def test_processes_report_with_their_own_token(hub: Hub, client: httpx.Client) -> None:
    body = msgspec.json.encode(update(bins={0: Bin(requests=4)}))
    assert client.post("/ingest", content=body).status_code == 403
    page = {TOKEN_HEADER: token_of(client)}
    assert client.post("/ingest", content=body, headers=page).status_code == 403
    known = {TOKEN_HEADER: SECRET, "host": "dashboard:8090"}
    assert client.post("/ingest", content=body, headers=known).json()["resend"] is False
    assert client.get("/state").json()["total"]["requests"] == 4
    far = msgspec.json.encode(update(bins={MOST_BINS: Bin()}))
    for bad in (b"", b"{}", body[:-5], b"\xff", b"[" * 100_000, far, b" " * (9 * 2**20)):
        assert client.post("/ingest", content=bad, headers=known).status_code in (400, 413)
    other = msgspec.json.encode(update(facts=facts("other")))
    assert client.post("/ingest", content=other, headers=known).status_code == 409
    assert client.get("/state").json()["total"]["requests"] == 4


def test_no_one_reports_to_a_view_of_its_own_process(hub: Hub, tmp_path: Path) -> None:
    with LiveServer(LiveView(hub, tmp_path), "127.0.0.1", 0) as server:
        body = msgspec.json.encode(update())
        answer = httpx.post(
            f"{server.url}/ingest", content=body, headers={TOKEN_HEADER: ""}, trust_env=False
        )
    assert answer.status_code == 403


def test_pages_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in re.findall(r'(?:href|src)="([^"#]+)"', page.text):
        asset = client.get(path)
        assert asset.status_code == 200
        outside = set(re.findall(r"https?://[^\s\"')]+", asset.text))
        assert outside <= {"http://www.w3.org/2000/svg"}
    assert client.get("/assets/..%2fapp.py").status_code == 404
    assert client.get("/assets/app.py").status_code == 404


def test_only_the_shown_runs_report_is_read(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").write_text("secret" if name == "other" else "shown")
    hub.offer(update())
    assert client.get("/state").json()["report"] is None
    hub.offer(update(status="finished"))
    assert client.get("/state").json()["report"] == "/runs/run/report"
    answer = client.get("/runs/run/report")
    assert answer.text == "shown"
    assert "sandbox allow-scripts;" in answer.headers["content-security-policy"]
    assert client.get("/runs/other/report").status_code == 404


def test_the_stream_sends_news_and_ends_with_the_server(hub: Hub, tmp_path: Path) -> None:
    with (
        LiveServer(LiveView(hub, tmp_path), "127.0.0.1", 0) as server,
        httpx.stream("GET", f"{server.url}/events", trust_env=False, timeout=5) as stream,
    ):
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        assert '"status":"waiting"' in next(lines)
        with ShownProgress(hub.preparation, NullProgress()).task("embedding items", 20) as task:
            task.advance(5)
            assert _until(lines, '"status":"preparing"')["works"][0]["total"] == 20
        hub.offer(update(replay_s=1.0))
        assert _until(lines, '"status":"running"')["replay_s"] == 1.0
        hub.offer(update(status="finished"))
        assert '"status":"finished"' in next(lines)
        server.__exit__(None, None, None)
        assert list(lines) == []


def _until(lines: Iterator[str], wanted: str) -> dict[str, Any]:
    found = next(line for line in lines if wanted in line)
    return dict(json.loads(found.removeprefix("data: ")))


def test_news_missed_while_the_view_was_away_arrive(tmp_path: Path) -> None:
    port = free_port()
    sink = HttpSink(f"http://127.0.0.1:{port}", SECRET)
    feed = Feed(facts(), "one", sink)
    for second in range(3):
        feed.request(request(finished_s=float(second)))
        feed.tick(tick(second + 0.2))
    hub = Hub()
    with LiveServer(LiveView(hub, tmp_path, ingest_token=SECRET), "127.0.0.1", port) as server:
        feed.request(request(finished_s=3.0))
        feed.tick(tick(3.2))
        feed.end("finished")
        state = httpx.get(f"{server.url}/state", trust_env=False).json()
    assert state["status"] == "finished"
    assert state["total"]["requests"] == 4


def test_a_taken_port_is_said(hub: Hub, tmp_path: Path) -> None:
    with LiveServer(LiveView(hub, tmp_path), "127.0.0.1", 0) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"{port}"):
            LiveServer(LiveView(hub, tmp_path), "127.0.0.1", port).__enter__()
