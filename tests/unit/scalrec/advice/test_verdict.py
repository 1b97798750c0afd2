"""Which interval is recommended, and what is said."""

from __future__ import annotations

import pytest

from scalrec.advice.model import Figures, IntervalFigures
from scalrec.advice.verdict import judge, longest_paying
from shared.statistics import Estimate


def estimate(value: float, half: float = 0.002) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, count=100)


def gains(*values: float) -> dict[int, Estimate]:
    return {k: estimate(v) for k, v in zip((1, 2, 5, 10, 20), values, strict=False)}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.02, 0.018, 0.015, 0.0101, 0.005), 10),  # half is kept up to 10
        ((0.02, 0.018, 0.015, 0.010, 0.005), 10),  # exactly half counts
        ((0.02, 0.009, 0.008, 0.004, 0.003), 1),  # all above zero, but too little is kept
        ((0.003, 0.0025, 0.002, 0.0019, 0.0018), 2),  # kept, but not significant
        ((0.02, 0.009, 0.015, 0.004, 0.003), 5),  # the longest, whatever lies before it
        ((0.001, 0.001, 0.0, 0.0, 0.0), None),
        ((-0.01, -0.02, -0.02, -0.02, -0.02), None),
        ((-0.01, 0.0, 0.02, 0.02, 0.02), None),  # where a fresh snapshot harms, none pays
    ],
)
def test_the_longest_interval_that_keeps_half_of_a_sure_gain(
    values: tuple[float, ...], expected: int | None
) -> None:
    assert longest_paying(gains(*values)) == expected


def test_without_figures_nothing_pays() -> None:
    assert longest_paying({}) is None
    assert longest_paying({1: Estimate(value=None, low=None, high=None, count=0)}) is None


def figures(
    gain: tuple[float, ...],
    uncalibrated: tuple[float, ...] | None = None,
    *,
    local: float | None = None,
    opponents: dict[str, Estimate] | None = None,
    over: float | None = None,
    fusion_weight: float = 0.8,
) -> Figures:
    rows = []
    for (k, g), (_, u) in zip(
        gains(*gain).items(), gains(*(uncalibrated or gain)).items(), strict=True
    ):
        assert g.value is not None
        assert u.value is not None
        rows.append(
            IntervalFigures(
                interval=k,
                calls_per_1000=1000 / k,
                weights={0: 1.0},
                calibrated=estimate(0.2 + g.value),
                uncalibrated=estimate(0.2 + u.value),
                gain=g,
                uncalibrated_gain=u,
                calibration=estimate(g.value - u.value),
                late_gain=estimate(g.value - 0.001),
                local_gain=None if local is None else estimate(local),
                over_opponent=None if over is None else estimate(over),
            )
        )
    return Figures(
        ages=(0, 20), users=50, requests=100, alone=estimate(0.2), fresh=estimate(gain[0]),
        opponents=opponents or {}, opponent=max(opponents) if opponents else None,
        fusion_weight=fusion_weight, intervals=tuple(rows),
    )  # fmt: skip


def test_a_cloud_that_pays() -> None:
    verdict = judge(figures((0.02, 0.018, 0.015, 0.008, 0.005), (0.02, 0.012, 0.007, 0.0, 0.0)))
    assert verdict.interval == 5
    assert verdict.sentence.replace("\u00a0", " ") == (
        "Call the cloud every 5 requests: +0.0150 [+0.0130, +0.0170] NDCG@10 over the device "
        "without any cloud (0.2000), 200 calls per 1,000 requests; that is 75 % of what a call "
        "at every request gains."
    )
    calibration, uncalibrated, late = verdict.remarks
    assert calibration.startswith("Calibration pays: +0.0080")
    assert "Without calibration the cloud would pay every 2 requests (+0.0120" in uncalibrated
    assert "+0.0140" in late


def test_a_cloud_that_pays_only_fresh() -> None:
    verdict = judge(figures((0.02, 0.002, 0.001, 0.0, 0.0)))
    assert verdict.interval == 1
    assert verdict.sentence.startswith("Call the cloud at every request: +0.0200")
    assert verdict.sentence.endswith("1,000 calls per 1,000 requests.")
    assert "no significant difference: 0.0000" in verdict.remarks[0]


def test_a_cloud_that_does_not_pay() -> None:
    nothing = judge(figures((0.001, 0.0, 0.0, 0.0, 0.0)))
    assert nothing.interval is None
    assert nothing.sentence.startswith("Do not call the cloud: even called at every request")
    assert "+0.0010 [−0.0010" in nothing.sentence
    assert "that is not significant" in nothing.sentence
    assert nothing.sentence.endswith("it would have to bring more than 0.0010 on top of that.")
    assert nothing.shortfall == pytest.approx(0.001)
    harm = judge(figures((-0.01, -0.02, -0.02, -0.03, -0.03), (0.01, 0.0, 0.0, 0.0, 0.0)))
    assert "answers become worse" in harm.sentence
    assert harm.shortfall == pytest.approx(0.012)
    assert harm.remarks[0].startswith("Calibration harms here, switch it off")
    assert "would pay at every request" in harm.remarks[1]


def test_a_better_opponent_and_an_unused_table_are_told() -> None:
    better = {"decayed": estimate(0.1), "ensemble": estimate(0.25)}
    gain = (-0.05, -0.06, -0.06, -0.06, -0.06)
    verdict = judge(figures(gain, local=0.01, opponents=better, over=-0.1))
    table, own, cloud = verdict.remarks[-3:]
    assert "would pay every 20 requests: +0.0100" in table
    assert "two structure models (0.2500) does best, better than its own score (0.2000)" in own
    assert "at every request, are worse than two structure models" in cloud
    worse = {"ensemble": estimate(0.19)}
    [level] = judge(figures((0.02,) * 5, opponents=worse, over=0.001)).remarks[2:]
    assert "every 20 requests, are not significantly better than two structure models" in level
    assert len(judge(figures((0.0,) * 5, opponents=worse, over=0.01)).remarks) == 1


def test_no_weight_for_the_embedding_is_told_first() -> None:
    verdict = judge(figures((0.0,) * 5, fusion_weight=0.0))
    assert verdict.remarks[0].startswith("Validation gives the cloud's embedding no weight")
    assert "its candidates are still used" in verdict.remarks[0]


def test_a_gain_found_only_with_old_snapshots_is_doubted() -> None:
    verdict = judge(figures((0.0015, 0.001, 0.001, 0.001, 0.004)))
    assert verdict.interval == 20
    assert verdict.remarks[0].startswith(
        "Be careful: called at every request the cloud's gain, +0.0015"
    )
    assert not any("Be careful" in r for r in judge(figures((0.02,) * 5)).remarks)
