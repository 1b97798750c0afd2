"""Estimates come out at what the scores were drawn from, paired and clustered by user."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from experiments import spec
from experiments.estimation import Estimates, estimate
from experiments.panel import Panel
from experiments.selection import Selector
from experiments.spec import Experiment
from experiments.study import SCHEMA
from tests.support.fake_study import RECOVERED, STALE, invented, truth

USERS = 60


def panel_of(*cells: tuple[str, str, int, pl.DataFrame], users: int = USERS) -> Panel:
    panel = Panel(users)
    for profile, variant, seed, scores in cells:
        panel.add(profile, variant, seed, scores)
    panel.pool_gaps()
    return panel


@pytest.fixture(scope="module")
def found() -> Estimates:
    cells = [("tiny", "base", seed, invented(USERS, seed)) for seed in range(3)]
    return estimate(spec.load("gates"), panel_of(*cells), draws=300)


def key(name: str, setting: str = "S1", gap: object = 5, metric: str = "ndcg10") -> str:
    return f"tiny/base/{name}/{setting}/{gap}/all/last/{metric}"


def test_scores_come_out_with_an_interval_around_them(found: Estimates) -> None:
    for scorer in ("structure", "stale", "calibrated"):
        figure = found.estimates[key(scorer)]
        assert figure.value == pytest.approx(truth(scorer, "S1", 5), abs=0.02)
        assert figure.low < figure.value < figure.high  # type: ignore[operator]
        assert figure.spread is not None
        assert figure.spread < 0.002


def test_paired_differences_are_far_surer_than_the_scores(found: Estimates) -> None:
    score, difference = found.estimates[key("stale")], found.differences[key("calibration")]
    expected = RECOVERED * (STALE[0] - STALE[5])
    assert difference.value == pytest.approx(expected, abs=0.003)
    assert difference.sign == 1

    def width(figure: object) -> float:
        return figure.high - figure.low  # type: ignore[attr-defined]

    assert width(difference) < width(score) / 5
    assert difference.relative is not None
    assert difference.relative[0] == pytest.approx(difference.value / score.value)  # type: ignore[operator]


def test_the_mean_over_gaps_leaves_the_fresh_snapshot_out(found: Estimates) -> None:
    gaps = [found.estimates[key("stale", gap=gap)].value for gap in (5, 10)]
    mean = found.estimates[key("stale", gap="mean")]
    assert mean.value == pytest.approx(np.mean(gaps))  # type: ignore[arg-type]
    assert mean.count == found.estimates[key("stale")].count


def test_the_strongest_opponent_is_chosen_where_it_stands(found: Estimates) -> None:
    assert found.differences[key("headline")].against == "ensemble_counts"
    assert found.differences[key("headline-one-model")].against == "counts"
    counter = "tiny/base/structure-over-counter/full/0/all/last/ndcg10"
    assert found.differences[counter].against == "decayed"


def test_the_recovered_share_has_an_interval_and_needs_a_loss(found: Estimates) -> None:
    share = found.ratios[key("recovered")]
    assert share.value == pytest.approx(RECOVERED, abs=0.03)
    assert share.low < RECOVERED + 0.03  # type: ignore[operator]
    assert share.high > RECOVERED - 0.03  # type: ignore[operator]
    same = invented(USERS, 0).with_columns(pl.lit(0.5).alias("ndcg10") * pl.col("n"))
    nothing = estimate(spec.load("gates"), panel_of(("tiny", "base", 0, same)), draws=100)
    assert nothing.ratios[key("recovered")].value is None


def test_users_weigh_by_their_steps_and_seeds_are_averaged_first() -> None:
    rows = {
        "user": [0, 1, 0, 1],
        "scorer": ["structure"] * 4,
        "setting": ["S1"] * 4,
        "gap": [0] * 4,
        "part": ["all"] * 4,
        "loo": [False] * 4,
        "n": [1, 3, 1, 3],
        "ndcg10": [1.0, 0.0, 0.0, 3.0],
        "ndcg5": [0.0] * 4,
        "hr10": [0.0] * 4,
        "hr5": [0.0] * 4,
    }
    table = pl.DataFrame(rows).cast(SCHEMA)
    panel = panel_of(("tiny", "base", 0, table[:2]), ("tiny", "base", 1, table[2:]), users=2)
    where = Selector(
        profile="tiny", variant="base", setting="S1", gap="0", scorer="structure", metric="ndcg10"
    )
    assert panel.value(where, [0]) == 0.25
    assert panel.value(where, [1]) == 0.75
    assert panel.value(where, [0, 1]) == 0.5
    sums, counts = panel.sums(where, [0, 1])
    assert sums.tolist() == [0.5, 1.5]
    assert counts.tolist() == [1, 3]


def test_variants_are_compared_over_the_seeds_both_have() -> None:
    sweeps = spec.load("rq3-sweeps")
    cells = [
        *(("tiny", "base", seed, invented(USERS, seed)) for seed in range(3)),
        ("tiny", "gamma-0", 1, invented(USERS, 1, shift=0.02)),
    ]
    found = estimate(sweeps, panel_of(*cells), draws=100)
    difference = found.differences["tiny/gamma-0/from-base/S1/5/all/last/ndcg10"]
    # Seed 1 draws the same noise in both, so the shift is all there is.
    assert difference.value == pytest.approx(0.02, abs=1e-9)
    assert "tiny/base/from-base/S1/5/all/last/ndcg10" not in found.differences


def test_a_measure_that_cells_lack_is_no_figure_and_not_nought() -> None:
    """Finished cells of before a measure was scored may stand beside new ones."""
    old = invented(USERS, 0)
    new = invented(USERS, 1).with_columns(ndcg20=pl.col("ndcg10") + 0.1 * pl.col("n"))
    gates = spec.load("gates")
    asked = gates.model_copy(
        update={
            "estimates": tuple(
                scores.model_copy(update={"metrics": ("ndcg10", "ndcg20")})
                for scores in gates.estimates
            )
        }
    )
    both = estimate(
        asked, panel_of(("tiny", "base", 0, old), ("tiny", "base", 1, new)), draws=50
    ).estimates
    alone = estimate(asked, panel_of(("tiny", "base", 1, new)), draws=50).estimates
    at = key("stale", metric="ndcg20")
    assert both[at].value == alone[at].value
    assert alone[at].value == pytest.approx(alone[key("stale")].value + 0.1)
    assert both[key("stale")].value != alone[key("stale")].value
    none = estimate(asked, panel_of(("tiny", "base", 0, old)), draws=50).estimates
    assert key("stale") in none
    assert at not in none


def test_the_same_scores_give_the_same_figures(found: Estimates) -> None:
    cells = [("tiny", "base", seed, invented(USERS, seed)) for seed in (2, 0, 1)]
    again = estimate(spec.load("gates"), panel_of(*cells), draws=300)
    assert again.differences[key("headline")] == found.differences[key("headline")]


def test_differences_of_unequal_steps_are_counted(gates: Experiment) -> None:
    scores = invented(USERS, 0)
    fewer = scores.filter(~((pl.col("scorer") == "structure") & (pl.col("user") == 3)))
    whole = estimate(gates, panel_of(("tiny", "base", 0, scores)), draws=100)
    part = estimate(gates, panel_of(("tiny", "base", 0, fewer)), draws=100)
    assert whole.unequal == 0
    assert part.unequal > 0
