"""The live view of a real replay, in a real browser, as somebody who demonstrates it uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from loadtest.dashboard.app import LiveView
from loadtest.dashboard.hub import Hub
from loadtest.dashboard.preparation import ShownProgress
from loadtest.dashboard.server import LiveServer
from loadtest.replay.controls import read_interventions
from shared.progress import NullProgress
from tests.support.bundles import make_bundle
from tests.support.live_records import update
from tests.support.replays import replay_settings
from tests.support.watched import Watched, watched_replay

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SECONDS = 15.0
LONG_MS = 20_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Finished]:
    """One replay, cut and restored and changed through its page; then left open."""
    folder = tmp_path_factory.mktemp("live")
    bundle = make_bundle(folder / "bundle")
    settings = replay_settings(
        bundle,
        clock="wall",
        duration_s=SECONDS,
        users=60,
        availability={"kind": "always"},
        device={"k": 2, "link": {"deadline_s": 1.0, "breaker_open_s": 0.5}},
    )
    with watched_replay(folder, bundle, settings) as watched, opened(browser, watched.url) as page:
        yield Finished(watched, page).drive()


@contextmanager
def opened(
    browser: Browser, url: str, *, width: int = 1280, scheme: str = "light"
) -> Iterator[Page]:
    """The page in a window of its own; whatever its console says fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(f"{failed.url}: {failed.failure}"))
    page.goto(url)
    yield page
    page.evaluate("0")  # what was reported until now has arrived
    assert complaints == []
    context.close()


class Finished:
    """What was seen on the way."""

    def __init__(self, watched: Watched, page: Page) -> None:
        self.watched = watched
        self.page = page
        self.seen: dict[str, str] = {}

    def drive(self) -> Finished:
        page = self.page
        expect(page.locator("#status")).to_have_text(re.compile("Running"), timeout=LONG_MS)
        expect(page.locator("#answered")).not_to_have_text("–")
        self.seen["early"] = page.locator("#answered").inner_text()
        self.seen["up"] = page.locator("#cloud").inner_text()
        # By keyboard: to the chosen radio button, then one to the right.
        page.get_by_label("As planned").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#cloud")).to_have_text("away")
        self.seen["cut"] = page.locator("#answered").inner_text()
        self.seen["note"] = page.locator("#note").inner_text()
        page.wait_for_function(
            "before => +document.getElementById('answered').textContent > before + 20",
            arg=int(self.seen["cut"]),
        )
        page.get_by_label("Restore").check()
        expect(page.locator("#cloud")).to_have_text("up")
        page.get_by_label("k", exact=True).fill("7")
        page.keyboard.press("Enter")
        expect(page.locator("#policy")).to_have_text("every-k, k = 7")
        page.get_by_role("switch").focus()
        page.keyboard.press("Space")
        expect(page.locator("#calibrate-text")).to_have_text("off")
        self.watched.wait()
        expect(page.locator("#status")).to_have_text("Finished, open the report", timeout=LONG_MS)
        return self


def test_figures_move_while_the_replay_runs(finished: Finished) -> None:
    assert finished.seen["up"] == "up"
    assert int(finished.seen["early"]) < int(finished.seen["cut"]) < 600
    expect(finished.page.locator("#answered")).to_have_text("600")
    for name in ("#ndcg-uncalibrated", "#ndcg-alone", "#p99", "#saved", "#per-request"):
        expect(finished.page.locator(name)).to_have_text(re.compile(r"\d"))


def test_a_cut_from_the_page_is_a_cut_and_devices_answer_on(finished: Finished) -> None:
    assert "cut off" in finished.seen["note"]
    changes = read_interventions(finished.watched.run_dir)
    assert [(c.what, c.value) for c in changes] == [
        ("cloud", "down"), ("cloud", "up"), ("k", "7"), ("calibration", "off")
    ]  # fmt: skip
    requests = pl.read_parquet(finished.watched.run_dir / "requests.parquet")
    assert len(requests) == 600
    start, end = changes[0].replay_s, changes[1].replay_s
    away = requests.filter(pl.col("scheduled_s").is_between(start + 0.1, end - 0.1))
    assert len(away) > 10
    assert not away["cloud_up"].any()
    assert away["rank"].is_not_null().all()
    late = requests.filter(pl.col("scheduled_s") > changes[3].replay_s + 0.1)
    assert len(late) > 0
    assert (late["de_norm"].fill_nan(0.0) == 0).all()


def test_the_page_agrees_with_the_records(finished: Finished) -> None:
    requests = pl.read_parquet(finished.watched.run_dir / "requests.parquet")
    refreshes = pl.read_parquet(finished.watched.run_dir / "refreshes.parquet").filter(
        pl.col("started_s") >= 0
    )
    finished.page.get_by_text("Figures as a table").click()
    rows = {
        row.locator("th").inner_text(): row.locator("td").last.inner_text()
        for row in finished.page.locator("#table tr").all()
    }
    assert rows["requests"] == "600"
    calls = int(refreshes["attempts"].sum())
    assert rows["cloud calls, retries included"] == f"{calls:,}"
    unsent = int((refreshes["attempts"] == 0).sum())
    assert rows["refreshes held back by an open breaker"] == str(unsent)
    assert rows["cloud calls saved"] == f"{100 * (1 - (calls + unsent) / 600):.1f} %"
    assert rows["refreshes per request"] == f"{len(refreshes) / 600:.3f}"
    shown = rows["request latency from schedule, p50 / p95 / p99"].split(" / ")
    exact = np.quantile(
        requests["latency_scheduled_ms"], (0.5, 0.95, 0.99), method="inverted_cdf"
    ).tolist()
    assert [float(v.removesuffix(" ms").replace(",", "")) for v in shown] == [
        pytest.approx(value, rel=0.055) for value in exact
    ]


def test_the_report_opens_and_cannot_reach_the_page(finished: Finished) -> None:
    with finished.page.context.expect_page() as opening:
        finished.page.get_by_role("link", name="open the report").click(modifiers=["Control"])
    report = opening.value
    expect(report).to_have_title("Report")
    assert report.evaluate("origin") == "null"
    report.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_readable_at_every_width_light_and_dark(
    finished: Finished, browser: Browser, width: int, scheme: str
) -> None:
    with opened(browser, finished.watched.url, width=width, scheme=scheme) as page:
        expect(page.locator("#status")).to_have_text(re.compile("Finished"))
        page.get_by_text("Figures as a table").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        channels = page.evaluate(
            "['backgroundColor', 'color'].map("
            "name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
        )
        assert (sum(channels[0]) < sum(channels[1])) == (scheme == "dark")
        for chart in page.locator("svg[role=img]").all():
            assert len(chart.get_attribute("aria-label") or "") > 30
            box = chart.bounding_box()
            assert box is not None
            assert box["width"] > 250
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input,button')]"
            ".filter(e => !(e.labels?.length || e.ariaLabel || e.textContent)).length"
        )
        assert unnamed == 0


def test_charts_are_read_by_keyboard_without_moving_anything(finished: Finished) -> None:
    page = finished.page
    chart = page.locator("#chart-ndcg svg")
    before = chart.bounding_box()
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#chart-ndcg .readout")).to_have_text(re.compile(r"s: calibrated"))
    assert chart.bounding_box() == before


def test_nothing_moves_while_figures_come_in(browser: Browser, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    settings = replay_settings(bundle, clock="wall", duration_s=4.0, users=30,
                               availability={"kind": "always"}, device={"k": 2})  # fmt: skip
    with (
        watched_replay(tmp_path, bundle, settings) as watched,
        opened(browser, watched.url) as page,
    ):
        page.evaluate(
            "new PerformanceObserver(l => l.getEntries().forEach(e => {"
            " shifted += e.value;"
            " moved.push(...e.sources.map(s => s.node?.id || s.node?.outerHTML?.slice(0, 60))) }))"
            ".observe({type: 'layout-shift', buffered: true}); shifted = 0; moved = []"
        )
        watched.wait()
        expect(page.locator("#status")).to_have_text(re.compile("Finished"), timeout=LONG_MS)
        assert page.evaluate("shifted") < 0.02, page.evaluate("moved")


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_done_before_the_replay_is_shown(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    hub = Hub()
    progress = ShownProgress(hub.preparation, NullProgress())
    with (
        LiveServer(LiveView(hub, tmp_path), "127.0.0.1", 0) as server,
        opened(browser, server.url, width=width) as page,
    ):
        expect(page.locator("#status")).to_have_text("Waiting for a run")
        with progress.task("embedding items", 1682) as task:
            task.advance(1682)
        with progress.task("embedding abstracts", 41_235) as task:
            task.advance(10_000)
            expect(page.locator("#status")).to_have_text("Getting ready")
            lines = page.locator("#works li")
            expect(lines.first).to_contain_text("1,682 of 1,682")
            expect(lines.last).to_contain_text("10,000 of 41,235")
            expect(lines.last).to_contain_text("left")
            expect(page.locator("#facts")).to_contain_text("embedding abstracts")
            share = lines.last.locator("progress").evaluate("bar => bar.value")
            assert share == pytest.approx(10_000 / 41_235)
            assert page.locator("#figures").is_hidden()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        hub.offer(update(replay_s=1.0))
        expect(page.locator("#status")).to_have_text(re.compile("Running"))
        expect(page.locator("#answered")).to_be_visible()
        assert page.locator("#preparation").is_hidden()
