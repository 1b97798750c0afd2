"""Adapters learn what leads to what, and a run that was ended comes to the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import DataError
from shared.progress import Task
from tests.support.text_models import tiny_model
from tests.support.tiers import first_quick
from training.learning import Checkpoint, best_of, copied
from training.semantic.anchors import Anchors
from training.settings import LoraSettings
from training.tuning.adapters import AdaptedEncoder
from training.tuning.fit import judge, log_share, tune
from training.tuning.pairs import TuningPairs

N = 12
TASTES = [f"taste{i}" for i in range(N)]
THINGS = [f"thing{i}" for i in range(N)]
MOODS = ["today", "likes", "again", "mostly", "some", "often"]
ITEMS = [f"{thing} for sale" for thing in THINGS]
OPTIONS = LoraSettings(rank=8, epochs=6, batch_size=12, learning_rate=1e-2, temperature=0.1)


def said(n: int, seed: int) -> TuningPairs:
    """Whoever names a taste takes the thing of that number; the other words are noise."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % N
    texts = [f"{rng.choice(MOODS)} {rng.choice(MOODS)} {TASTES[t]}" for t in target]
    nowhere = np.zeros(n, dtype=np.int64)
    return TuningPairs(Anchors(nowhere, nowhere), tuple(texts), target.astype(np.int64))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = [*TASTES, *THINGS, *MOODS, "for", "sale"]
    return tiny_model(tmp_path_factory.mktemp("model"), words)


def encoder_of(model: Path, options: LoraSettings = OPTIONS) -> AdaptedEncoder:
    torch.manual_seed(0)
    return AdaptedEncoder(model, options, pooling="MEAN", max_tokens=16)


@pytest.mark.parametrize("precision", first_quick(["bfloat16", "float32"]))
def test_held_out_requests_rank_better(model: Path, tmp_path: Path, precision: str) -> None:
    options = OPTIONS.model_copy(update={"precision": precision})
    encoder, held_out = encoder_of(model, options), said(36, seed=9)
    before_loss, before = judge(encoder, ITEMS, held_out, options.temperature)

    history = tune(
        encoder, ITEMS, said(120, seed=1), held_out, options, checkpoint=Checkpoint(tmp_path / "c")
    )

    after_loss, after = judge(encoder, ITEMS, held_out, options.temperature)
    assert (history[0].validation_loss, history[0].validation_ndcg10) == (before_loss, before)
    assert after_loss < 0.75 * before_loss
    assert after > before + 0.2
    best = best_of(history)
    assert after == best.validation_ndcg10 == max(epoch.validation_ndcg10 for epoch in history)
    losses = [epoch.train_loss for epoch in history[1:]]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]


def test_nothing_to_learn_keeps_the_model_as_it_came(model: Path, tmp_path: Path) -> None:
    shuffled = said(60, seed=1)
    wrong = TuningPairs(shuffled.anchors, shuffled.text, (shuffled.target + 5) % N)
    encoder, held_out = encoder_of(model), said(36, seed=9)
    words = list(held_out.text)
    with torch.no_grad():
        before = encoder(words)
    known = said(36, seed=9)
    perfect = TuningPairs(known.anchors, tuple(ITEMS[t] for t in known.target), known.target)

    # Judged on texts that the model as it came already ranks first.
    history = tune(
        encoder, ITEMS, wrong, perfect, OPTIONS, checkpoint=Checkpoint(tmp_path / "c"), seed=3
    )

    assert history[0].validation_ndcg10 == 1.0
    assert best_of(history).epoch == 0
    with torch.no_grad():
        torch.testing.assert_close(encoder(words), before)


class Ended(Exception):
    """Whoever ran it pressed Ctrl-C."""


class EndsIn:
    """Progress that ends the run during an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        if note.startswith(f"epoch {self.epoch}/") and not amount:
            raise Ended


@pytest.mark.slow
def test_a_run_that_was_ended_comes_to_the_same(model: Path, tmp_path: Path) -> None:
    training, held_out = said(48, seed=1), said(24, seed=9)
    options = OPTIONS.model_copy(update={"epochs": 3})
    whole, parts = encoder_of(model, options), encoder_of(model, options)
    expected = tune(
        whole, ITEMS, training, held_out, options, checkpoint=Checkpoint(tmp_path / "whole")
    )
    saved = Checkpoint(tmp_path / "parts")
    with pytest.raises(Ended):
        tune(parts, ITEMS, training, held_out, options, checkpoint=saved, progress=EndsIn(epoch=3))

    again = encoder_of(model, options)
    found = tune(again, ITEMS, training, held_out, options, checkpoint=saved)

    assert [e.validation_loss for e in found] == [e.validation_loss for e in expected]
    for name, value in whole.adapters().items():
        torch.testing.assert_close(again.adapters()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_begun_anew(model: Path, tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "c")
    saved.path.write_bytes(b"not a checkpoint")
    encoder = encoder_of(model)
    optimizer = torch.optim.AdamW(encoder.adapters().values())
    before = copied(encoder.adapters())
    history, best = saved.restore(encoder.adapters(), optimizer)
    assert history == []
    for name, value in before.items():
        assert torch.equal(best[name], value)


def test_popular_items_are_put_right() -> None:
    share = log_share(np.array([0, 0, 0, 2]), 4).exp()
    torch.testing.assert_close(share, torch.tensor([0.75, 0.25, 0.25, 0.25]))


def test_too_little_to_learn_from_is_said(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        tune(
            encoder_of(model), ITEMS, said(1, 0), said(2, 0), OPTIONS,
            checkpoint=Checkpoint(tmp_path / "c"),
        )  # fmt: skip
