"""The benchmark's training step is a real one, and its limit does the products it names."""

from __future__ import annotations

import pytest

from benchmarks.training import BareProducts, compare_training
from shared.split import split_log
from tests.support.staleness import make_log
from training.backbone.fit import BackboneFit, BackboneOptions, Cycle
from training.encoders.sasrec import SASRecConfig

CONFIG = SASRecConfig(dim=16, layers=2, heads=2, window=8)


def test_it_times_real_steps_against_products_of_the_same_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[tuple[float, int]] = []
    learn = BackboneFit.learn

    def watched(fit: BackboneFit, batch: object) -> tuple[float, int]:
        learned.append(learn(fit, batch))  # type: ignore[arg-type]
        return learned[-1]

    monkeypatch.setattr(BackboneFit, "learn", watched)
    log = make_log(users=12, events=30)
    (row,) = compare_training(
        log,
        split_log(log, test_steps=5),
        CONFIG,
        BackboneOptions(cycles=(Cycle(epochs=1, learning_rate=1e-3),), batch_windows=4),
    )
    assert "4 windows of 8" in row.name
    assert row.ours > row.theirs > 0
    assert row.ratio > 1
    assert learned[-1][0] < learned[0][0]  # the same batch again and again is learned
    assert all(targets > 0 for _, targets in learned)


def test_the_limit_counts_every_product_of_a_step() -> None:
    limit = BareProducts(CONFIG, rows=4, length=8, targets=20, n_items=30)
    multiplications = sum(a.shape[:-1].numel() * b.shape[-2:].numel() for a, b in limit.products)
    maps = 32 * (2 * (1 + 2 + 1 + 4 + 4) + 1 + 1 + 1 + 3) * 16 * 16
    attention = 2 * 2 * (4 * 8 * 8 * 16)
    assert multiplications == maps + attention + 2 * (4 * 8 * 8 * 16) + 20 * 16 * 30
    limit()
