import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from loadtest.replay.run_info import StageRecord, read_run_info, write_run_info
from reports import text
from reports.page import verdict
from reports.page.build import build_report, render
from reports.page.spoken import spoken
from reports.page.tables.table import name_of
from reports.summary.build import build_summary, read_summary
from reports.summary.model import METRICS, Staleness, Summary
from reports.terminal import print_summary
from shared.errors import DataError
from shared.statistics import Estimate
from tests.support.page import Page
from tests.support.runs import invent_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = invent_run(tmp_path_factory.mktemp("run"))
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def html(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def summary(run_dir: Path) -> Summary:
    return read_summary(run_dir)


def shown(estimate: Estimate) -> str:
    return f"{text.score(estimate.value)} {text.interval(estimate)}".strip()


def test_page_loads_nothing_from_anywhere(page: Page, html: str) -> None:
    assert all(address.startswith("#") for address in page.addresses), page.addresses
    assert not {"link", "iframe", "object", "embed", "img", "base"} & set(page.tags)
    assert not any(re.search(r"url\((?!['\"]?#)|@import", style) for style in page.styles)
    assert html.count("window.vegaEmbed") == 1
    assert len(html.encode()) < 2_000_000


def test_page_is_well_formed_and_accessible(page: Page, html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert len(page.ids) == len(set(page.ids)), "ids repeat"
    assert set(page.labels) <= set(page.ids)
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert {f"#{i}" for i in page.ids} >= set(page.addresses)


def test_every_chart_has_words_a_spec_and_a_static_picture(page: Page) -> None:
    assert set(page.specs) == {
        f"spec-{name}"
        for name in (
            "paper-S1", "paper-S2", "replay-ndcg", "replay-age", "replay-refreshes",
            "replay-calls", "replay-degradation", "latency", "latency-cdf", "stages",
        )
    }  # fmt: skip
    for spec in page.specs.values():
        chart = json.loads(spec)
        assert len(chart["description"]) > 20
        assert "$schema" not in chart
    assert page.tags.count("svg") == page.tags.count("noscript") == len(page.specs)


def test_paper_tables_hold_every_score_of_the_summary(page: Page, summary: Summary) -> None:
    assert summary.paper is not None
    found = 0
    for score in (s for s in summary.paper.scores if s.part == "all"):
        rows = page.tables[f"{score.setting}: every scorer by gap"]
        [row] = [r for r in rows if r[:2] == [str(score.gap), name_of(score.scorer)]]
        count = f"{score.metrics['ndcg@10'].count:,}"
        assert row[2:] == [count, *(shown(score.metrics[m]) for m in METRICS)]
        found += 1
    assert found == 2 * 4 * 4


def test_staleness_table_is_that_of_the_summary(page: Page, summary: Summary) -> None:
    assert summary.paper is not None
    rows = page.tables["What staleness cost and calibration bought back, NDCG@10"][1:]
    assert len(rows) == len(summary.paper.staleness) == 6
    for row, figures in zip(rows, summary.paper.staleness, strict=True):
        assert row[:2] == [figures.setting, str(figures.gap)]
        assert row[2].startswith(text.signed(figures.loss.value))
        assert row[3].startswith(text.signed(figures.bought_back.value))
        assert row[4].startswith(text.percent(figures.recovered.value))
        assert row[5].endswith(text.interval(figures.over_structure, with_sign=True))


def test_replay_tables_hold_every_group_percentile_and_count(page: Page, summary: Summary) -> None:
    system = summary.system
    assert system is not None
    groups = page.tables["The replay by group, NDCG@10"]
    for score in (s for s in system.scores if s.by != "all"):
        label = f"snapshot {score.group} events old" if score.by == "delta" else score.group
        [row] = [r for r in groups if r[0] == label]
        assert row[groups[0].index(name_of(score.scorer))] == shown(score.metrics["ndcg@10"])
    latency = {row[0]: row[1:] for row in page.tables["Latency in milliseconds"]}
    for line in system.latency:
        assert latency[line.what][0] == f"{line.count:,}"
        assert latency[line.what][-2:] == [text.milliseconds(line.p99), text.milliseconds(line.max)]
    cloud = {row[0]: row[1] for row in page.tables["Calls, bytes and refusals"]}
    assert cloud["HTTP calls, retries included"] == f"{system.cloud.calls:,}"
    assert cloud["calls saved"] == text.percent(system.cloud.saved, 1)
    for outcome, count in system.cloud.outcomes.items():
        assert cloud[f"refreshes that ended: {outcome}"] == f"{count:,}"


def test_modes_share_no_table_and_captions_state_the_protocol(html: str, summary: Summary) -> None:
    captions = re.findall(r"<caption>.*?</caption>", html, re.S)
    modes = ("Paper mode:", "Full ranking of the whole catalogue", "System mode:")
    quality = [c for c in captions if any(mode in c for mode in modes)]
    assert len(quality) > 8
    for caption in quality:
        assert sum(mode in caption for mode in modes) == 1
        assert "repeat policy allow" in caption
        assert "half-life of the decayed frequency 20 events" in caption
        assert "users (at most" in caption
    [last] = [c for c in captions if "Whole catalogue, leave-one-out" in c]
    assert "; 40 requests of 40 users (at most 1 each);" in last


def test_headline_states_what_the_intervals_allow(page: Page, summary: Summary) -> None:
    words = "".join(page.words)
    for sentence in verdict.sentences(summary):
        assert sentence in words
    assert sum("(S1)" in s or "(S2)" in s for s in verdict.sentences(summary)) == 2


def test_the_first_screen_is_a_sentence_and_pictures_before_any_table(
    html: str, page: Page, summary: Summary
) -> None:
    said = spoken(summary)
    assert said is not None
    assert said in "".join(page.words)
    lead, picture, cards, table, run = (
        html.index(mark)
        for mark in ('class="lead"', 'id="figure-paper-S1"', 'class="cards"', "<table", 'id="run"')
    )
    assert lead < picture < cards < table < run


def staleness(loss: float, gain: float, over: float, width: float = 0.001) -> Staleness:
    def estimate(value: float) -> Estimate:
        return Estimate(value=value, low=value - width, high=value + width, count=9)

    return Staleness(
        setting="S1", gap=5, loss=estimate(loss), bought_back=estimate(gain),
        recovered=estimate(gain / loss), over_structure=estimate(over),
        in_candidates=estimate(0.5), mean_delta=5.0,
    )  # fmt: skip


def said(summary: Summary, row: Staleness) -> str:
    assert summary.paper is not None
    paper = summary.paper.model_copy(update={"staleness": (row,)})
    return verdict.sentences(summary.model_copy(update={"paper": paper}))[0]


def test_verdict_does_not_claim_what_is_not_significant(summary: Summary) -> None:
    nothing = said(summary, staleness(0.0005, 0.0004, -0.0002))
    assert nothing.count("not significant") == 3
    assert "bought back" not in nothing
    harm = said(summary, staleness(0.01, -0.004, -0.02))
    assert "staleness cost 0.0100" in harm
    assert "calibration made it worse, by 0.0040" in harm
    assert "0.0200 [0.0190,\u00a00.0210] below" in harm
    good = said(summary, staleness(0.01, 0.004, 0.002))
    assert "bought back 0.0040 [0.0030,\u00a00.0050], 40\u00a0% of the loss" in good
    assert "above the device's own score over the same candidates" in good


def test_report_is_the_same_twice(run_dir: Path, html: str) -> None:
    build_report(run_dir)
    assert (run_dir / "report.html").read_text(encoding="utf-8") == html
    assert sorted(p.suffix for p in run_dir.iterdir()).count(".partial") == 0


def test_fallback_embedder_is_labelled(tmp_path: Path, page: Page) -> None:
    assert "Fallback text model" not in "".join(page.words)
    invent_run(tmp_path, fallback=True)
    words = "".join(Page(build_report(tmp_path).read_text(encoding="utf-8")).words)
    assert "vLLM was asked for, transformers served the text model instead" in words
    assert "vLLM is not installed <here>" in words


def test_foreign_text_cannot_become_markup(tmp_path: Path) -> None:
    invent_run(tmp_path, terms="</p><script>alert(1)</script>")
    info = read_run_info(tmp_path)
    stage = StageRecord(name="</script><b id=evil>", seconds=1)
    write_run_info(tmp_path, info.model_copy(update={"stages": (stage,)}))
    page = Page(build_report(tmp_path).read_text(encoding="utf-8"))
    assert "evil" not in page.ids
    assert "</p><script>alert(1)</script>" in "".join(page.words)
    assert json.loads(page.specs["spec-stages"])["description"].count("<b id=evil>") == 1


@pytest.mark.parametrize("kept", ["paper", "full", "requests"])
def test_a_run_of_one_mode_has_a_report_too(tmp_path: Path, kept: str) -> None:
    invent_run(tmp_path)
    for path in tmp_path.glob("*.parquet"):
        if path.stem != kept:
            path.unlink()
    page = Page(build_report(tmp_path).read_text(encoding="utf-8"))
    assert page.tables
    assert {f"#{i}" for i in page.ids} >= set(page.addresses)


def test_groups_without_requests_show_a_dash(tmp_path: Path) -> None:
    invent_run(tmp_path)
    for name in ("paper", "full", "requests"):
        path = tmp_path / f"{name}.parquet"
        pl.read_parquet(path).with_columns(is_return=pl.lit(False)).write_parquet(path)
    page = Page(render(build_summary(tmp_path)))
    rows = page.tables["Returns and discoveries over the whole catalogue"]
    assert rows[1][2:5] == ["0", text.NONE, text.NONE]


def test_a_replay_in_which_no_time_passes_has_no_latency_chart(tmp_path: Path) -> None:
    invent_run(tmp_path)
    for name, columns in (
        ("requests", ["latency_scheduled_ms", "latency_service_ms"]),
        ("refreshes", ["latency_ms"]),
    ):
        path = tmp_path / f"{name}.parquet"
        pl.read_parquet(path).with_columns(pl.lit(0.0).alias(c) for c in columns).write_parquet(
            path
        )
    page = Page(render(build_summary(tmp_path)))
    assert "spec-latency" not in page.specs
    assert page.tables["Latency in milliseconds"][1][-1] == "0.00"


def test_no_report_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scalrec simulate"):
        build_report(tmp_path)


def test_console_summary_prints_the_figures_of_the_summary(summary: Summary) -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    print_summary(summary, console)
    printed = console.export_text()
    assert summary.paper is not None
    assert summary.system is not None
    for row in summary.paper.staleness:
        assert text.signed(row.bought_back.value) in printed
        assert text.percent(row.recovered.value) in printed
    answered = summary.system.scores[0].metrics["ndcg@10"]
    assert f"{text.score(answered.value)}   {text.interval(answered)}" in printed
    assert f"{summary.system.cloud.calls:,} cloud calls" in printed


def test_the_split_is_told_with_what_training_knew_of_later_events(tmp_path: Path) -> None:
    run = invent_run(tmp_path)
    info = read_run_info(run).model_copy(update={"trained_after": 0.4151})
    write_run_info(run, info)
    build_report(run)
    said = "by user: each user's last events are held out"
    html = (run / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    console = Console(file=io.StringIO(), width=400, record=True)
    print_summary(read_summary(run), console)
    for told in (html, console.export_text()):
        assert said in told
        assert f"41.5{text.NBSP}% of training events lie after the request" in told
    assert json.loads((run / "summary.json").read_text())["run"]["trained_after"] == 0.4151
    assert "lie after" not in text.split_told(None)
    assert said in text.split_told(None)
    at_once = {**info.settings, "training": {"split": "global"}}
    write_run_info(run, info.model_copy(update={"settings": at_once, "trained_after": 0.0}))
    build_report(run)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "at one instant: nothing that anybody did from then on was trained on" in html
    assert said not in html.replace("&#39;", "'")
