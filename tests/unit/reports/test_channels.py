"""Which channel carries an answer is said from the run's own paired intervals, never left open."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from reports.page import verdict
from reports.page.channels import NO_WEIGHT, carried
from reports.page.charts.degradation import degradation_chart
from reports.page.charts.replay import replay_charts
from reports.page.tables.comparison import answers_table
from reports.page.tables.full import full_table
from reports.page.tables.system import system_difference_table
from reports.summary.build import build_summary
from reports.summary.model import Summary
from shared.statistics import Estimate
from tests.support.runs import invent_run

UP, DOWN, LEVEL = (0.01, 0.005, 0.015), (-0.01, -0.015, -0.005), (0.001, -0.002, 0.004)
ZERO = (0.0, 0.0, 0.0)
Ends = tuple[float, float, float]


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return build_summary(invent_run(tmp_path_factory.mktemp("run")))


def estimate(ends: Ends) -> Estimate:
    value, low, high = ends
    return Estimate(value=value, low=low, high=high, count=9)


def of_catalogue(summary: Summary, words: Ends, cloud: Ends, weight: float = 0.8) -> str:
    assert summary.full is not None
    found = {("student", "counts"): words, ("fused", "student"): cloud}
    differences = tuple(
        d.model_copy(update={"metrics": d.metrics | {"ndcg@10": estimate(found[pair])}})
        if (pair := (d.minuend, d.subtrahend)) in found
        else d
        for d in summary.full.differences
    )
    full = summary.full.model_copy(update={"differences": differences})
    run = summary.run.model_copy(update={"fusion_weight": weight})
    said = carried(summary.model_copy(update={"full": full, "run": run}))
    assert said is not None
    return said


def test_every_channel_that_adds_significantly_carries_the_answer(summary: Summary) -> None:
    said = of_catalogue(summary, UP, UP)
    assert said.startswith("Structure with counts (")
    assert "words (+0.0100" in said
    assert said.endswith(") carry the answer over the whole catalogue.")
    assert " and a fresh cloud (+0.0100" in said


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (LEVEL, "a fresh cloud adds +0.0010 [−0.0020,\u00a0+0.0040], which is not significant"),
        (DOWN, "a fresh cloud takes 0.0100 [0.0050,\u00a00.0150] away"),
        (ZERO, "a fresh cloud adds nothing"),
    ],
)
def test_a_channel_that_does_not_is_told_apart(summary: Summary, ends: Ends, words: str) -> None:
    said = of_catalogue(summary, UP, ends)
    assert f"carry the answer over the whole catalogue; {words}." in said
    alone = of_catalogue(summary, ZERO, ends)
    assert "carries the answer" in alone
    assert "; words adds nothing; " not in alone
    assert "; words add nothing; " in alone


def test_no_weight_for_the_cloud_is_said_as_it_is(summary: Summary) -> None:
    said = of_catalogue(summary, UP, ZERO, weight=0.0)
    assert said.endswith(f"; {NO_WEIGHT}.")
    assert "fresh cloud" not in said
    replayed = carried(
        summary.model_copy(
            update={"full": None, "run": summary.run.model_copy(update={"fusion_weight": 0.0})}
        )
    )
    assert replayed == (
        "The device's own score (structure, counts and words) carries the answer; "
        + NO_WEIGHT
        + "."
    )


def replayed(summary: Summary, cached: Ends, alone: Ends) -> str:
    system = summary.system
    assert system is not None
    found = {"uncalibrated": cached, "alone": alone}
    rows = tuple(
        d.model_copy(update={"metrics": d.metrics | {"ndcg@10": estimate(found[d.subtrahend])}})
        if d.subtrahend in found
        else d
        for d in system.differences
    )
    changed = system.model_copy(update={"differences": rows})
    [said] = [
        sentence
        for sentence in verdict.sentences(summary.model_copy(update={"system": changed}))
        if sentence.startswith("Over the whole replay")
    ]
    return said


def test_the_replay_is_compared_with_the_cache_and_with_no_cloud_in_one_sentence(
    summary: Summary,
) -> None:
    said = replayed(summary, UP, LEVEL)
    assert (
        "NDCG@10 of calibrated answers lies 0.0100 [0.0050,\u00a00.0150] above that of the " in said
    )
    assert (
        "cached snapshot as it is and does not differ significantly from that of a device " in said
    )
    assert "without any cloud (+0.0010 [−0.0020" in said
    worse = replayed(summary, ZERO, DOWN)
    assert "is exactly that of the cached snapshot as it is and lies 0.0100" in worse
    assert "below that of a device without any cloud." in worse


def test_labels_say_what_each_answer_is(summary: Summary) -> None:
    assert summary.system is not None
    assert summary.full is not None
    pairs = {row.heads[1] for row in system_difference_table(summary.system).rows}
    assert pairs == {
        f"answered (calibrated) − {other}"
        for other in ("cached as it is", "own score, same candidates", "device without any cloud",
                      "decayed frequency")
    }  # fmt: skip
    for chart in (replay_charts(summary.system)[0], degradation_chart(summary.system)):
        assert chart is not None
        assert chart.legend[-1] == ("s-structure", "device without any cloud")
    names = [row.heads[0] for row in full_table(summary.full, "last steps").rows]
    assert names[:3] == [
        "structure only", "structure with counts", "own score: structure, counts and words"
    ]  # fmt: skip
    [row] = answers_table({"run": summary.system}).rows
    gains = {
        d.subtrahend: d.metrics["ndcg@10"] for d in summary.system.differences if d.by == "all"
    }
    assert row.cells[4].text.endswith(f"{abs(gains['alone'].value or 0):.4f}")


def test_records_from_before_these_were_taken_are_still_read(tmp_path: Path) -> None:
    folder = invent_run(tmp_path)
    for name, gone in (("requests", ["rank_alone"]), ("full", ["rank_counts", "rank_student"])):
        path = folder / f"{name}.parquet"
        pl.read_parquet(path).drop(gone).write_parquet(path)
    summary = build_summary(folder)
    assert summary.system is not None
    assert summary.system.timeline[0].alone is None
    assert "alone" not in {row.scorer for row in summary.system.scores}
    legend = replay_charts(summary.system)[0].legend
    assert legend[-1] == ("s-structure", "own score, same candidates")
    said = verdict.sentences(summary)
    assert "that of the device's own score over the same candidates" in said[-2]
    assert said[-1].startswith("Structure (")
