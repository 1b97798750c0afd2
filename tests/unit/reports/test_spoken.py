"""The sentence to say aloud claims what the intervals allow, and holds no figure but round ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.page.spoken import spoken
from reports.summary.build import build_summary
from reports.summary.model import Staleness, Summary, SystemDifference
from shared.statistics import Estimate, no_estimate
from tests.support.runs import invent_run

NO_CLOUD = "a device without any cloud"


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return build_summary(invent_run(tmp_path_factory.mktemp("run")))


def estimate(value: float, width: float = 0.001) -> Estimate:
    return Estimate(value=value, low=value - width, high=value + width, count=9)


def row(setting: str, loss: float, gain: float = 0.0, recovered: float | None = None) -> Staleness:
    return Staleness(
        setting=setting,
        gap=5,
        loss=estimate(loss),
        bought_back=estimate(gain),
        recovered=no_estimate() if recovered is None else estimate(recovered),
        over_structure=estimate(0.0),
        in_candidates=estimate(0.5),
        mean_delta=5.0,
    )


def of_age(summary: Summary, *rows: Staleness, fresh: float = 0.1) -> str:
    assert summary.paper is not None
    scores = tuple(
        score.model_copy(update={"metrics": score.metrics | {"ndcg@10": estimate(fresh)}})
        if (score.gap, score.scorer, score.part) == (0, "uncalibrated", "all")
        else score
        for score in summary.paper.scores
    )
    paper = summary.paper.model_copy(update={"staleness": rows, "scores": scores})
    said = spoken(summary.model_copy(update={"paper": paper, "system": None}))
    assert said is not None
    return said


def of_cloud(summary: Summary, over: Estimate | None, alone: float = 0.1) -> str | None:
    assert summary.system is not None
    differences = tuple(
        d for d in summary.system.differences if (d.minuend, d.subtrahend) != ("answered", "alone")
    )
    if over is not None:
        differences += (
            SystemDifference(
                by="all", group="all", minuend="answered", subtrahend="alone",
                metrics={"ndcg@10": over, "hr@10": over},
            ),
        )  # fmt: skip
    scores = tuple(
        score.model_copy(update={"metrics": score.metrics | {"ndcg@10": estimate(alone)}})
        if score.scorer == "alone"
        else score
        for score in summary.system.scores
    )
    system = summary.system.model_copy(update={"differences": differences, "scores": scores})
    return spoken(summary.model_copy(update={"paper": None, "system": system}))


def test_age_is_said_to_cost_its_share_of_a_fresh_score(summary: Summary) -> None:
    said = of_age(summary, row("S1", 0.02, 0.01, 0.5))
    assert said == (
        "On invented, an embedding from the cloud that is 5 events old ranks about 20 % worse "
        "than a fresh one, and calibration wins about 50 % of it back."
    ).replace(" %", "\u00a0%")
    assert "wins all of it back" in of_age(summary, row("S1", 0.02, 0.02, 0.97))
    assert "makes it worse" in of_age(summary, row("S1", 0.02, -0.01, -0.5))
    assert "no measurable difference" in of_age(summary, row("S1", 0.02, 0.0005, 0.02))


def test_the_setting_that_lost_most_is_told(summary: Summary) -> None:
    both = of_age(summary, row("S1", 0.002), row("S2", 0.03))
    assert "a snapshot from the cloud that is 5 events old ranks about 30\u00a0% worse" in both
    assert "embedding" not in both


def test_nothing_is_claimed_of_what_is_not_significant(summary: Summary) -> None:
    level = of_age(summary, row("S1", 0.0004), row("S2", -0.0002))
    assert "ranks no measurably worse than a fresh one" in level
    assert "%" not in level
    better = of_age(summary, row("S1", -0.01))
    assert "ranks about 10\u00a0% better than a fresh one." in better
    assert "calibration" not in better


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (estimate(0.012), f"its answers are about 12\u00a0% better than those of {NO_CLOUD}."),
        (estimate(-0.05), f"its answers are about 50\u00a0% worse than those of {NO_CLOUD}."),
        (estimate(0.0005), f"not measurably better or worse than those of {NO_CLOUD}."),
        (estimate(0.0, 0.0), f"are exactly those of {NO_CLOUD}."),
    ],
)
def test_the_cloud_is_held_against_a_device_without_any(
    summary: Summary, over: Estimate, words: str
) -> None:
    said = of_cloud(summary, over)
    assert said is not None
    assert said.endswith(words.replace("its answers", "the answers"))


def test_what_was_not_measured_is_not_said(summary: Summary, tmp_path: Path) -> None:
    assert of_cloud(summary, None) is None
    assert spoken(summary.model_copy(update={"paper": None, "system": None})) is None


def test_a_sentence_to_say_aloud_holds_no_score_and_no_interval(summary: Summary) -> None:
    said = spoken(summary)
    assert said is not None
    assert said.count(". ") == 0
    assert not re.search(r"\d\.\d|\[", said)
