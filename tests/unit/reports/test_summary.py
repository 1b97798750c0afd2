import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from device_runtime.settings import DeviceSettings
from loadtest.records.latency import percentiles
from loadtest.replay.run_info import read_run_info
from loadtest.settings import ReplaySettings
from reports.summary.build import build_summary, read_summary, write_summary
from reports.summary.model import Summary
from reports.summary.system_section import system_section
from shared.cost import CostSettings
from shared.errors import DataError
from shared.paper_settings import PaperSettings
from tests.support.runs import invent_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return invent_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def summary(run_dir: Path) -> Summary:
    return build_summary(run_dir)


def gain(rank: float) -> float:
    return 1 / np.log2(1 + rank) if rank <= 10 else 0.0


def test_paper_figures_equal_a_recomputation_request_by_request(
    run_dir: Path, summary: Summary
) -> None:
    rows = pl.read_parquet(run_dir / "paper.parquet").to_dicts()
    assert summary.paper is not None
    for score in summary.paper.scores:
        mine = [
            gain(row[f"rank_{score.scorer}"])
            for row in rows
            if (row["setting"], row["gap"]) == (score.setting, score.gap)
            and (score.part == "all" or row["is_return"] == (score.part == "returns"))
        ]
        estimate = score.metrics["ndcg@10"]
        assert estimate.count == len(mine)
        assert estimate.value == pytest.approx(np.mean(mine), abs=1e-12)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high


def test_staleness_pairs_every_request_with_its_own_gap_zero(
    run_dir: Path, summary: Summary
) -> None:
    rows = pl.read_parquet(run_dir / "paper.parquet").sample(fraction=1.0, shuffle=True, seed=3)
    by_key = {(r["setting"], r["gap"], r["user"], r["step"]): r for r in rows.to_dicts()}
    assert summary.paper is not None
    assert {(s.setting, s.gap) for s in summary.paper.staleness} == {
        (setting, gap) for setting in ("S1", "S2") for gap in (5, 10, 20)
    }
    for row in summary.paper.staleness:
        here = [r for key, r in by_key.items() if key[:2] == (row.setting, row.gap)]
        fresh = [by_key[row.setting, 0, r["user"], r["step"]] for r in here]
        loss = np.mean([gain(r["rank_uncalibrated"]) for r in fresh]) - np.mean(
            [gain(r["rank_uncalibrated"]) for r in here]
        )
        back = np.mean([gain(r["rank_calibrated"]) - gain(r["rank_uncalibrated"]) for r in here])
        assert row.loss.value == pytest.approx(loss, abs=1e-12)
        assert row.bought_back.value == pytest.approx(back, abs=1e-12)
        if row.loss.sign > 0:
            assert row.recovered.value == pytest.approx(back / loss)
        else:
            assert row.recovered.value is None


def test_a_loss_that_is_none_has_no_recovered_share(tmp_path: Path) -> None:
    invent_run(tmp_path)
    frame = pl.read_parquet(tmp_path / "paper.parquet")
    fresh = frame.filter(pl.col("gap") == 0).select("setting", "user", "step", "rank_uncalibrated")
    frame.drop("rank_uncalibrated").join(fresh, on=["setting", "user", "step"]).write_parquet(
        tmp_path / "paper.parquet"
    )
    paper = build_summary(tmp_path).paper
    assert paper is not None
    assert all(row.loss.value == 0 and row.recovered.value is None for row in paper.staleness)


def test_full_ranking_keeps_leave_one_out_apart(run_dir: Path, summary: Summary) -> None:
    rows = pl.read_parquet(run_dir / "full.parquet").to_dicts()
    assert summary.full is not None
    scores = {(s.steps, s.scorer, s.part): s.metrics for s in summary.full.scores}
    for scorer in ("structure", "decayed"):
        last = [r[f"rank_{scorer}"] for r in rows if r["last"]]
        estimate = scores["leave-one-out", scorer, "all"]["hr@10"]
        assert estimate.count == len(last) == 40
        assert estimate.value == pytest.approx(np.mean([rank <= 10 for rank in last]))
        assert scores["last steps", scorer, "all"]["hr@10"].count == len(rows)


def test_system_figures_equal_a_recomputation(run_dir: Path, summary: Summary) -> None:
    requests = pl.read_parquet(run_dir / "requests.parquet")
    recorded = pl.read_parquet(run_dir / "refreshes.parquet")
    refreshes = recorded.filter(pl.col("started_s") >= 0)
    system = summary.system
    assert system is not None
    groups = {(s.by, s.group, s.scorer): s.metrics["ndcg@10"] for s in system.scores}
    assert groups["all", "all requests", "answered"].value == pytest.approx(
        np.mean([gain(rank) for rank in requests["rank"]])
    )
    aged = requests.filter(pl.col("delta").is_between(3, 5))
    assert groups["delta", "3-5", "structure"].count == aged.height
    assert groups["delta", "3-5", "structure"].value == pytest.approx(
        np.mean([gain(rank) for rank in aged["rank_structure"]])
    )
    cloud = system.cloud
    assert cloud.calls == refreshes["attempts"].sum()
    unsent = refreshes.filter(pl.col("attempts") == 0)
    assert cloud.held_back == unsent.height > 0
    assert set(unsent["outcome"]) == {"breaker"}
    # What an open breaker kept back, the policy did not save.
    assert cloud.saved == pytest.approx(1 - (cloud.calls + unsent.height) / requests.height)
    assert cloud.answered == refreshes.filter(pl.col("outcome").is_in(["fresh", "stale"])).height
    local = set(requests.filter(pl.col("source") == "local").select("user", "step").rows())
    assert cloud.first == sum(row in local for row in refreshes.select("user", "step").rows())
    fresh = refreshes.filter(pl.col("outcome") == "fresh").height
    assert cloud.cost is not None
    assert cloud.cost.calls == pytest.approx(1000 * fresh / requests.height)
    assert cloud.cost.tokens_estimated
    assert cloud.cost.money == pytest.approx(cloud.cost.tokens * 0.1e-6)
    assert cloud.bytes_up == refreshes["request_bytes"].sum()
    assert recorded.height == refreshes.height + 1
    assert cloud.warm_up_calls == recorded["attempts"].sum() - cloud.calls
    assert sum(cloud.outcomes.values()) == refreshes.height
    assert cloud.refused == refreshes.filter(pl.col("outcome") == "refused").height
    assert cloud.breaker_open_requests == pytest.approx((requests["breaker"] != "closed").mean())
    assert sum(system.sources.values()) == requests.height


def test_timeline_holds_every_request_and_refresh_once(summary: Summary) -> None:
    system = summary.system
    assert system is not None
    assert sum(moment.requests for moment in system.timeline) == system.scope.requests
    assert sum(sum(m.refreshes.values()) for m in system.timeline) == system.cloud.refreshes
    starts = [moment.start_s for moment in system.timeline]
    assert starts == sorted(starts)
    assert system.timeline[0].start_s == 0


def test_outages_are_where_requests_found_the_cloud_down(summary: Summary) -> None:
    assert summary.system is not None
    spans = [(outage.start_s, outage.end_s) for outage in summary.system.outages]
    assert len(spans) == 3
    for (start, end), expected in zip(spans, (20, 50, 80), strict=True):
        assert start == pytest.approx(expected, abs=1.5)
        assert end == pytest.approx(expected + 10, abs=1.5)


def test_outages_of_a_script_are_told_where_the_settings_know_of_none(run_dir: Path) -> None:
    always = ReplaySettings.model_validate({"availability": {"kind": "always"}})
    info = read_run_info(run_dir)
    section = system_section(
        run_dir, info, PaperSettings(bootstrap=200), always, DeviceSettings(), CostSettings()
    )
    assert section is not None
    assert re.fullmatch(r"there, but for (29|30) s \(3 times\)", section.availability)


def test_the_call_rate_counts_what_left_the_devices_in_each_second(
    run_dir: Path, summary: Summary
) -> None:
    assert summary.system is not None
    rate = summary.system.call_rate
    sent = pl.read_parquet(run_dir / "attempts.parquet")["sent_s"]
    assert sent.min() < 0  # type: ignore[operator]
    assert sum(rate) == (sent >= 0).sum() > 20
    for second in (0, 7, len(rate) - 1):
        assert rate[second] == ((sent >= second) & (sent < second + 1)).sum()
    assert len(rate) - 1 < summary.system.timeline[-1].end_s <= len(rate)


def test_percentiles_are_latencies_that_occurred() -> None:
    row = percentiles("x", np.array([4.0, 1.0, 3.0, 2.0, np.nan]))
    assert (row.count, row.p50, row.p99, row.max, row.mean) == (4, 2.0, 4.0, 4.0, 2.5)


def test_summary_is_the_same_twice_and_survives_the_file(run_dir: Path) -> None:
    first = write_summary(run_dir)
    text = (run_dir / "summary.json").read_text()
    assert write_summary(run_dir) == first == read_summary(run_dir)
    assert (run_dir / "summary.json").read_text() == text
    assert "NaN" not in text
    assert list(json.loads(text)) == ["format", "run", "paper", "full", "system"]


def test_sections_without_records_are_null(tmp_path: Path) -> None:
    invent_run(tmp_path)
    for name in ("paper", "full", "refreshes"):
        (tmp_path / f"{name}.parquet").unlink()
    summary = build_summary(tmp_path)
    assert summary.paper is None
    assert summary.full is None
    assert summary.system is not None
    assert summary.system.cloud.refreshes == 0
    assert summary.system.cloud.saved == 1.0


def test_unusable_records_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scalrec simulate"):
        build_summary(tmp_path)
    invent_run(tmp_path)
    path = tmp_path / "paper.parquet"
    frame = pl.read_parquet(path)
    frame.drop("rank_semantic").write_parquet(path)
    with pytest.raises(DataError, match=r"paper\.parquet: columns are missing: rank_semantic"):
        build_summary(tmp_path)
    frame[:-1].write_parquet(path)
    with pytest.raises(DataError, match="does not cover the same requests"):
        build_summary(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"paper\.parquet: not a readable record file"):
        build_summary(tmp_path)
