"""Opponents: each is chosen by what validation says, and a fresh snapshot is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.studies.scalrec.opponents import (
    SCORERS,
    SPACINGS,
    Held,
    Opponents,
    fit_opponents,
    held_by,
)
from shared.profile import preset
from shared.split import Split, Steps, split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.calibration.judge import Judge
from training.calibration.pairs import Pairs, block_pairs, pairs_at_gap
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import stale_anchors
from training.semantic.requests import make_requests
from training.twin import Twin

DIM, WINDOW = 6, 8
GAPS = (0, 1, 2, 5, 10)
LOG = drifting_log(users=8, events=40)
SPLIT = split_log(LOG, test_steps=3, validation_steps=3, calibration_steps=4)


@pytest.fixture(scope="module")
def twin() -> Twin:
    """Untrained, with a snapshot at every point between 20 events before the block and its end."""
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW)).eval()
    table = ItemParameters(len(LOG.catalogue), DIM)
    events = events_of(LOG).keep_first(SPLIT.test_start)
    block, kept = SPLIT.calibration(), SPLIT.validation()
    everywhere = Steps(
        np.concatenate([block.user, kept.user]), np.concatenate([block.step, kept.step])
    )
    anchors = stale_anchors(everywhere, tuple(range(21)))
    requests = make_requests(model, table, events, anchors)
    e_sem = torch.from_numpy(np.random.default_rng(1).standard_normal((len(anchors), DIM))).float()
    return Twin(
        requests=requests,
        e_sem=e_sem,
        candidates=torch.zeros(len(anchors), 3, dtype=torch.int64),
        calibration=None,  # type: ignore[arg-type]
        profile=preset("tiny").model_copy(update={"window": WINDOW}),
        popularity=np.ones(len(LOG.catalogue)),
        fusion_weight=1.0,
        top_l=5,
        exclude_seen=False,
    )


class Wanting:
    """A judge for whom the nearer to what is wanted the better; 1 is reached by nothing else."""

    def __init__(self, twin: Twin, split: Split, wanted: Callable[[Held], Tensor]) -> None:
        anchors = twin.requests.anchors
        self.pairs = {gap: pairs_at_gap(anchors, split.validation(), gap) for gap in GAPS}
        self._wanted = {gap: wanted(held_by(twin, pairs)) for gap, pairs in self.pairs.items()}

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]:
        missed = (scale * e_sem.double() - self._wanted[gap].double()).square().sum(1)
        return torch.exp(-missed).numpy()

    def moved(self, gap: int) -> NDArray[np.bool_]:
        return np.zeros(len(self.pairs[gap]), dtype=np.bool_)

    def users(self, gap: int) -> NDArray[np.int64]:
        return np.zeros(len(self.pairs[gap]), dtype=np.int64)


def fitted(twin: Twin, wanted: Callable[[Held], Tensor]) -> Opponents:
    block = twin.requests.anchors.find(SPLIT.calibration().user, SPLIT.calibration().step)
    pairs = block_pairs(twin.requests.anchors, block, np.random.default_rng(0), partners=4)
    return fit_opponents(twin, [(twin, pairs)], cast(Judge, Wanting(twin, SPLIT, wanted)))


def pairs_of(twin: Twin, gap: int) -> Pairs:
    return pairs_at_gap(twin.requests.anchors, SPLIT.validation(), gap)


def test_drift_is_followed_as_far_as_validation_says(twin: Twin) -> None:
    found = fitted(twin, lambda held: held.inputs.stale + 0.5 * held.drift)
    assert found.compensation.betas == (0.5, 0.5, 0.5)
    held = held_by(twin, pairs_of(twin, 5))
    assert float(held.drift.abs().max()) > 0.1
    torch.testing.assert_close(
        found.embeddings(held)["drift_compensation"], held.inputs.stale + 0.5 * held.drift
    )


@pytest.mark.parametrize(("count", "every"), [(3, 1), (2, 5), (4, 5)])
def test_as_many_snapshots_are_averaged_as_validation_says(
    twin: Twin, count: int, every: int
) -> None:
    assert every in SPACINGS
    found = fitted(twin, lambda held: held.mean(count, every))
    assert (found.count, found.every) == (count, every)
    held = held_by(twin, pairs_of(twin, 2))
    torch.testing.assert_close(found.embeddings(held)["averaged"], held.mean(count, every))


def test_the_corrector_learns_what_a_fresh_snapshot_follows_from(twin: Twin) -> None:
    """e_sem that follows e_str is known at any age from the present e_str."""
    turn = torch.from_numpy(np.random.default_rng(5).standard_normal((DIM, DIM))).float()
    e_sem = twin.requests.e_str @ turn
    follows = Twin(**(vars(twin) | {"e_sem": e_sem}))
    found = fitted(follows, lambda held: e_sem[torch.from_numpy(held.pairs.fresh)])
    assert found.corrector.penalty == 1e-5
    pairs = pairs_of(twin, 10)
    said = found.embeddings(held_by(follows, pairs))
    fresh = e_sem[torch.from_numpy(pairs.fresh)]
    torch.testing.assert_close(said["ridge"], fresh, atol=0.01, rtol=0.01)
    assert float((said["drift_compensation"] - fresh).abs().max()) > 0.5


def test_the_factor_on_the_fusion_weight_is_each_ones_own(twin: Twin) -> None:
    """One that is right at half its length gets half the weight, at every age above 0."""
    found = fitted(twin, lambda held: 0.5 * held.mean(3, 1))
    assert {rule.weight for rule in found.discounts["averaged"] if rule.from_delta} == {0.5}
    nothing = fitted(twin, lambda held: torch.zeros_like(held.inputs.stale))
    held = held_by(twin, pairs_of(twin, 5))
    for name, e_sem in nothing.embeddings(held).items():
        assert {rule.weight for rule in nothing.discounts[name] if rule.from_delta} == {0.0}
        assert not e_sem.any()


def test_a_fresh_snapshot_is_taken_as_it_is(twin: Twin) -> None:
    found = fitted(twin, lambda held: 0.25 * held.mean(4, 1))
    held = held_by(twin, pairs_of(twin, 0))
    for name in SCORERS:
        torch.testing.assert_close(found.embeddings(held)[name], held.inputs.stale, atol=0, rtol=0)
        assert not torch.equal(found.mended(held)["averaged"], held.inputs.stale)


def test_what_was_chosen_is_told(twin: Twin) -> None:
    found = fitted(twin, lambda held: held.mean(3, 1)).chosen()
    assert found["averaged_count"] == 3.0
    assert found["averaged_every"] == 1.0
    starts = [name for name in found if name.startswith("averaged_weight")]
    assert starts == [f"averaged_weight_from{start}" for start in (1, 4, 8)]
    assert found["ridge_penalty"] > 0
    assert {f"drift_beta_from{start}" for start in (1, 3, 8)} < found.keys()
