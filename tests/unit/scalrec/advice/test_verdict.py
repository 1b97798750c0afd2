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
    counters: dict[str, Estimate] | None = None,
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
            )
        )
    return Figures(
        setting="S2_history", ages=(0, 20), users=50, requests=100,
        alone=estimate(0.2), counters=counters or {}, intervals=tuple(rows),
    )  # fmt: skip


def test_a_cloud_that_pays() -> None:
    verdict = judge(figures((0.02, 0.018, 0.015, 0.008, 0.005), (0.02, 0.012, 0.007, 0.0, 0.0)))
    assert verdict.interval == 5
    assert verdict.sentence.replace("\u00a0", " ") == (
        "Call the cloud every 5 requests: +0.0150 [+0.0130, +0.0170] NDCG@10 over the device alone "
        "(0.2000), 200 calls per 1,000 requests; that is 75 % of what a call at every request "
        "gains."
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
    harm = judge(figures((-0.01, -0.02, -0.02, -0.03, -0.03), (0.01, 0.0, 0.0, 0.0, 0.0)))
    assert "answers become worse" in harm.sentence
    assert harm.remarks[0].startswith("Calibration harms here, switch it off")
    assert "would pay at every request" in harm.remarks[1]


def test_a_better_counter_and_an_unused_table_are_told() -> None:
    counters = {"popularity": estimate(0.1), "decayed": estimate(0.25)}
    verdict = judge(figures((-0.05, -0.06, -0.06, -0.06, -0.06), local=0.01, counters=counters))
    table, counter = verdict.remarks[-2:]
    assert "would pay every 20 requests: +0.0100" in table
    assert "decayed, 0.2500" in counter
    fewer = {"popularity": estimate(0.1)}
    assert len(judge(figures((0.0,) * 5, counters=fewer)).remarks) == 1


def test_a_gain_found_only_with_old_snapshots_is_doubted() -> None:
    verdict = judge(figures((0.0015, 0.001, 0.001, 0.001, 0.004)))
    assert verdict.interval == 20
    assert verdict.remarks[0].startswith(
        "Be careful: called at every request the cloud's gain, +0.0015"
    )
    assert not any("Be careful" in r for r in judge(figures((0.02,) * 5)).remarks)
