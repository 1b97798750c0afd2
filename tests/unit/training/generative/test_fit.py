"""The generator learns, resumes where it was ended, and knows of the past only."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.generation.beam import BeamSearch
from shared.errors import DataError
from shared.generator_config import Generative, GeneratorConfig
from shared.item_tokens import ItemTokens
from tests.support.tiers import first_quick
from tests.unit.training.generative.conftest import network_for
from training.backbone.batches import Events
from training.generative.fit import (
    GeneratorOptions,
    Validation,
    covering_windows,
    list_ranks,
    train_generator,
)
from training.learning import Checkpoint, Epoch

ITEMS, EVENTS = 20, 12


def chain(users: int = 40) -> Events:
    """Every item is followed by the next but one: a rule that a model can learn."""
    start = np.random.default_rng(0).integers(0, ITEMS, users)
    item = (start[:, None] + 2 * np.arange(EVENTS)) % ITEMS
    return Events(item.ravel(), np.zeros(item.size), np.arange(users + 1) * EVENTS)


def validation() -> Validation:
    first = np.arange(ITEMS)
    histories = tuple(np.array([(f - 4) % ITEMS, (f - 2) % ITEMS, f]) for f in first)
    return Validation(histories, (first + 2) % ITEMS)


def options(**changes: object) -> GeneratorOptions:
    usual = {
        "epochs": 4,
        "patience": 4,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "exclude_seen": False,
        "precision": "float32",
    }
    return GeneratorOptions.model_validate(usual | changes)


def config(tokens: ItemTokens, model: Generative = "p5") -> GeneratorConfig:
    return GeneratorConfig(
        model=model,
        levels=tokens.sizes,
        history=6,
        d_model=32,
        d_ff=64,
        d_kv=8,
        heads=4,
        layers=1,
        dropout=0.0,
    )


@pytest.mark.parametrize("model", first_quick(["p5", "pod"]))
def test_it_learns_what_follows_what(tokens: ItemTokens, tmp_path: Path, model: Generative) -> None:
    checkpoint = Checkpoint(tmp_path / "c.safetensors")
    network, epochs = train_generator(
        chain(),
        validation(),
        tokens,
        config(tokens, model),
        options(epochs=14, patience=14),
        checkpoint=checkpoint,
    )
    assert epochs[-1].train_loss < 0.6 * epochs[0].train_loss
    assert max(epoch.validation_ndcg10 for epoch in epochs) > 0.8  # by chance .23
    assert not network.training


class _Ended(Exception):
    pass


class _EndedAfter:
    """Progress that ends the work after some epochs, as a kill would."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    @contextmanager
    def task(self, label, total=None):  # type: ignore[no-untyped-def]
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.left -= amount
        if self.left == 0:
            raise _Ended


@pytest.mark.slow
def test_an_ended_run_goes_on_and_ends_with_the_same_weights(
    tokens: ItemTokens, tmp_path: Path
) -> None:
    whole, epochs = train_generator(
        chain(),
        validation(),
        tokens,
        config(tokens),
        options(),
        checkpoint=Checkpoint(tmp_path / "whole"),
    )
    saved = Checkpoint(tmp_path / "ended")
    arguments = (chain(), validation(), tokens, config(tokens), options())
    with pytest.raises(_Ended):
        train_generator(*arguments, checkpoint=saved, progress=_EndedAfter(2))
    resumed, again = train_generator(*arguments, checkpoint=saved)
    assert [(e.train_loss, e.validation_ndcg10) for e in again] == [
        (e.train_loss, e.validation_ndcg10) for e in epochs
    ]
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.slow
def test_a_damaged_checkpoint_starts_anew(tokens: ItemTokens, tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "c")
    saved.path.write_bytes(b"no tensors")
    _, epochs = train_generator(
        chain(8), validation(), tokens, config(tokens), options(epochs=1), checkpoint=saved
    )
    assert [epoch.epoch for epoch in epochs] == [1]


def test_it_stops_when_validation_no_longer_improves(tokens: ItemTokens, tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "c")
    _, epochs = train_generator(
        chain(8),
        Validation((), np.array([], dtype=np.int64)),
        tokens,
        config(tokens),
        options(epochs=9, patience=2),
        checkpoint=saved,
    )
    assert len(epochs) == 3  # the first is the best, two more bring nothing
    assert all(isinstance(epoch, Epoch) for epoch in epochs)


@pytest.mark.parametrize("model", ["p5", "pod"])
def test_a_prediction_does_not_see_what_follows(tokens: ItemTokens, model: Generative) -> None:
    network = network_for(tokens, model)
    table = BeamSearch(network, tokens).token_of_item
    history, other = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 7, 8]])
    following = torch.tensor([[2, 3, 4, 5]])
    changed = torch.tensor([[2, 3, 9, 9]])
    with torch.no_grad():
        one = network(table[history], table[following], network.default_template)
        two = network(table[other], table[changed], network.default_template)
        alone = network(table[history[:, :2]], table[following[:, :2]], network.default_template)
    torch.testing.assert_close(one[:, :2], two[:, :2])
    torch.testing.assert_close(one[:, :2], alone)
    assert not torch.allclose(one[:, 2], two[:, 2])


@pytest.mark.parametrize("width", [1, 4, 7, 20])
def test_windows_cover_every_target_once(width: int) -> None:
    sizes = np.array([1, 2, 5, 8, 9, 30])
    start = np.concatenate([[0], np.cumsum(sizes)])
    events = Events(np.arange(sizes.sum()), np.zeros(sizes.sum()), start)
    windows = covering_windows(events, width)
    targets = windows.next_item[windows.wanted].tolist()
    assert sorted(targets) == sorted(set(range(sizes.sum())) - set(start[:-1].tolist()))
    assert int(windows.length.max()) <= width
    known = {
        int(t): place + 1
        for row in range(len(windows))
        for place, t in enumerate(windows.next_item[row].tolist())
        if windows.wanted[row, place]
    }
    for t, seen in known.items():
        before = t - start[np.searchsorted(start, t, side="right") - 1]
        assert seen >= min(before, max(1, width // 2))


def test_nothing_to_learn_from_is_said(tokens: ItemTokens, tmp_path: Path) -> None:
    lonely = Events(np.array([3]), np.zeros(1), np.array([0, 1]))
    with pytest.raises(DataError, match="two training events"):
        train_generator(
            lonely,
            validation(),
            tokens,
            config(tokens),
            options(),
            checkpoint=Checkpoint(tmp_path / "c"),
        )


def test_ranks_within_lists() -> None:
    found = list_ranks(np.array([[4, 2], [7, 8], [9, 1]]), np.array([2, 7, 3]))
    assert found.tolist() == [(2.0, 1), (1.0, 1), (np.inf, 1)]
