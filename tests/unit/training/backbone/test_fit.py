"""Training: learns what is there, sees nothing it must not, and is reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import DataError
from shared.metrics import hit_rate, ndcg, rank_of
from shared.progress import NullTask
from training.backbone.batches import Events, windows_before
from training.backbone.checkpoint import load_backbone, save_backbone
from training.backbone.evaluate import encode_requests, structural_scores, target_ranks
from training.backbone.fit import BackboneOptions, Cycle, TrainedBackbone, train_backbone
from training.encoders.base import EncoderConfig
from training.encoders.sasrec import SASRecConfig

USERS, LENGTH, ITEMS = 40, 20, 30
CONFIG = SASRecConfig(dim=16, layers=1, heads=2, window=8, dropout=0.0)
QUICK = BackboneOptions(cycles=(Cycle(epochs=2, learning_rate=5e-3),), batch_windows=8, stride=4)


def cyclic_events(seed: int = 0) -> Events:
    """Each user walks the items in a circle, so the next item follows from the last alone."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, ITEMS, USERS)
    item = (first[:, None] + np.arange(LENGTH)) % ITEMS
    time_s = np.cumsum(rng.uniform(600, 90_000, (USERS, LENGTH)), axis=1)
    return Events(
        item=item.ravel().astype(np.int32),
        local_hour=(time_s.ravel() / 3600 % 168).astype(np.float32),
        user_start=np.arange(USERS + 1) * LENGTH,
        time_s=time_s.ravel(),
    )


def train(
    events: Events,
    options: BackboneOptions = QUICK,
    calibration_start: np.ndarray | None = None,
    config: EncoderConfig = CONFIG,
    **changes: object,
) -> TrainedBackbone:
    return train_backbone(
        events,
        config.model_copy(update=changes),
        options,
        n_items=ITEMS,
        validation_start=np.full(USERS, LENGTH - 2),
        test_start=np.full(USERS, LENGTH - 1),
        calibration_start=calibration_start,
        seed=7,
        threads=1,
    )


def last_events() -> np.ndarray:
    return np.arange(1, USERS + 1) * LENGTH - 1


def weights(trained: TrainedBackbone) -> list[torch.Tensor]:
    return [*trained.model.state_dict().values(), *trained.table.state_dict().values()]


def same_weights(a: TrainedBackbone, b: TrainedBackbone) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.mark.parametrize(
    ("policy", "negatives"), [("allow", None), ("exclude", None), ("allow", 16), ("exclude", 16)]
)
def test_it_learns_a_successor_rule(policy: str, negatives: int | None) -> None:
    options = BackboneOptions.model_validate(
        {
            "cycles": [{"epochs": 12, "learning_rate": 1e-2}, {"epochs": 3, "learning_rate": 3e-3}],
            "batch_windows": 16,
            "stride": 4,
            "repeat_policy": policy,
            "negatives": negatives,
        }
    )
    events = cyclic_events()
    trained = train(events, options)
    ranks = target_ranks(
        trained.model, trained.table, events, last_events(), exclude_seen=policy == "exclude"
    )
    assert hit_rate(ranks, 1).mean() > 0.9
    assert trained.history[-1].train_loss < 0.3 * trained.history[0].train_loss
    assert trained.best.validation_ndcg10 == max(r.validation_ndcg10 for r in trained.history)


def test_test_events_never_reach_training() -> None:
    """Whatever stands in the test events, training gives the same weights, bit for bit."""
    events = cyclic_events()
    item, hour = events.item.copy(), events.local_hour.copy()
    assert events.time_s is not None
    time_s = events.time_s.copy()
    item[last_events()] = 0
    hour[last_events()] = 1.0
    time_s[last_events()] += 1e7
    changed = replace(events, item=item, local_hour=hour, time_s=time_s)
    assert same_weights(train(events), train(changed))


def test_validation_events_are_not_training_targets() -> None:
    """With a single epoch nothing can be selected, so validation items cannot matter either."""
    one_epoch = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=5e-3),)})
    events = cyclic_events()
    item = events.item.copy()
    item[last_events() - 1] = 0
    assert same_weights(train(events, one_epoch), train(replace(events, item=item), one_epoch))


def test_a_training_event_does_matter() -> None:
    """The two tests above can fail: the last training event changes the weights."""
    events = cyclic_events()
    item = events.item.copy()
    item[last_events() - 2] = 0
    assert not same_weights(train(events), train(replace(events, item=item)))


def test_calibration_events_are_not_training_targets() -> None:
    """What stands in the calibration block cannot matter; the event before it does."""
    one_epoch = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=5e-3),)})
    start = np.full(USERS, LENGTH - 6)  # the last four training events are kept back
    events = cyclic_events()
    places = np.arange(USERS)[:, None] * LENGTH + np.arange(LENGTH - 6, LENGTH - 2)
    item = events.item.copy()
    item[places] = 0
    changed = replace(events, item=item)
    kept = train(events, one_epoch, calibration_start=start)
    assert same_weights(kept, train(changed, one_epoch, calibration_start=start))
    assert not same_weights(train(events, one_epoch), train(changed, one_epoch))
    item = events.item.copy()
    item[places[:, 0] - 1] = 0
    last = replace(events, item=item)
    assert not same_weights(kept, train(last, one_epoch, calibration_start=start))


def test_a_narrow_cycle_trains_near_distances_and_the_rest_follow() -> None:
    narrow = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=5e-3, window=5),)})
    near = train(cyclic_events(), narrow).model.copy.distance_bias[:, 0]
    steps = near[5:] - near[4:-1]
    assert near[:5].diff().unique().numel() > 1  # trained, each on its own
    torch.testing.assert_close(steps[1:], steps[1:2].expand(2))
    wide = (*narrow.cycles, Cycle(epochs=1, learning_rate=5e-3))
    far = train(cyclic_events(), narrow.model_copy(update={"cycles": wide}))
    steps = far.model.copy.distance_bias[:, 0].diff()[5:]
    assert far.options.cycles == wide
    assert not torch.allclose(steps, steps[:1])


def test_a_cycle_wider_than_the_encoder_is_refused() -> None:
    wide = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=5e-3, window=9),)})
    with pytest.raises(DataError, match="window 9"):
        train(cyclic_events(), wide)


def test_calibration_after_validation_is_refused() -> None:
    with pytest.raises(DataError, match="calibration_start"):
        train(cyclic_events(), calibration_start=np.full(USERS, LENGTH - 1))


def test_the_seed_decides_and_global_state_is_left_alone() -> None:
    events = cyclic_events()
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    first = train(events, dropout=0.2)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(100)
    assert same_weights(first, train(events, dropout=0.2))


def test_the_number_of_threads_is_put_back() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(DataError):
        train(cyclic_events(), QUICK.model_copy(update={"stride": 99}))
    train(cyclic_events())
    assert torch.get_num_threads() == threads


def test_the_best_validation_epoch_is_kept() -> None:
    trained = train(cyclic_events(), QUICK)
    ranks = target_ranks(trained.model, trained.table, cyclic_events(), last_events() - 1)
    kept = ndcg(ranks, 10).mean()
    assert kept == pytest.approx(trained.best.validation_ndcg10)


def test_ranks_equal_those_of_the_dense_scores_and_respect_the_repeat_policy() -> None:
    events, target = cyclic_events(), last_events()[:5]
    item = events.item.copy()
    item[target[0]] = item[target[0] - 12]  # a return from before the window of 8
    events = replace(events, item=item)
    trained = train(events)
    windows = windows_before(events, target, CONFIG.window, target)
    e_str, copy_logit = encode_requests(trained.model, trained.table, windows)
    with torch.no_grad():
        scores = structural_scores(e_str, copy_logit, windows.item, trained.table).numpy()
    want = [rank_of(scores[row], item[t]) for row, t in enumerate(target)]
    got = target_ranks(trained.model, trained.table, events, target)
    assert got.tolist() == want
    excluded = target_ranks(trained.model, trained.table, events, target, exclude_seen=True)
    assert np.isinf(excluded["expected"][0])
    assert (excluded["expected"][1:] <= got["expected"][1:]).all()


def test_item_vectors_start_from_the_given_ones() -> None:
    init = np.random.default_rng(0).normal(size=(ITEMS, CONFIG.dim))
    frozen = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=1e-9),)})
    arguments = {
        "n_items": ITEMS,
        "validation_start": np.full(USERS, LENGTH - 2),
        "test_start": np.full(USERS, LENGTH - 1),
        "threads": 1,
    }
    trained = train_backbone(cyclic_events(), CONFIG, frozen, item_init=init, **arguments)
    np.testing.assert_allclose(trained.table.vectors.detach(), init, atol=1e-4)
    with pytest.raises(ValueError, match="NaN"):
        train_backbone(cyclic_events(), CONFIG, QUICK, item_init=init * np.nan, **arguments)
    with pytest.raises(ValueError, match="expected"):
        train_backbone(cyclic_events(), CONFIG, QUICK, item_init=init[:3], **arguments)


def test_users_without_training_events_are_tolerated() -> None:
    events = Events(np.array([1, 2, 3, 1, 4]), np.zeros(5), np.array([0, 1, 1, 5]))
    trained = train_backbone(
        events,
        CONFIG.model_copy(update={"has_time": False}),
        QUICK,
        n_items=5,
        validation_start=np.array([1, 0, 4]),
        test_start=np.array([1, 0, 4]),
        threads=1,
    )
    assert np.isnan(trained.best.validation_ndcg10)
    assert trained.best.epoch == len(trained.history)  # nothing to choose by: the last epoch
    with pytest.raises(DataError, match="nothing to learn"):
        train_backbone(
            events,
            CONFIG,
            QUICK,
            n_items=5,
            validation_start=np.array([1, 0, 1]),
            test_start=np.array([1, 0, 1]),
        )


def test_events_outside_the_catalogue_are_refused() -> None:
    events = replace(cyclic_events(), item=np.full(USERS * LENGTH, ITEMS))
    with pytest.raises(DataError, match="outside"):
        train(events)


class Listener:
    """A Progress that writes down what it is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.notes: list[str] = []

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[NullTask]:
        self.total = total
        yield self  # type: ignore[misc]

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount
        self.notes.append(note)


def test_progress_counts_epochs_and_names_the_figures() -> None:
    listener = Listener()
    train_backbone(
        cyclic_events(),
        CONFIG,
        QUICK,
        n_items=ITEMS,
        validation_start=np.full(USERS, LENGTH - 2),
        test_start=np.full(USERS, LENGTH - 1),
        threads=1,
        progress=listener,
    )
    assert listener.done == listener.total == 2
    assert "epoch 2/2" in listener.notes[-1]
    assert "validation NDCG@10" in listener.notes[-1]
    assert any("batch" in note for note in listener.notes)


def test_a_saved_backbone_comes_back_whole(tmp_path: Path) -> None:
    trained, path = train(cyclic_events()), tmp_path / "deep" / "backbone.safetensors"
    save_backbone(trained, path)
    back = load_backbone(path)
    assert same_weights(trained, back)
    assert back.model.config == trained.model.config
    assert back.options == trained.options
    assert back.history == trained.history
    assert not back.model.training
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_damaged_backbone_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    with pytest.raises(DataError, match=r"backbone\.safetensors"):
        load_backbone(path)
    save_backbone(train(cyclic_events()), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"backbone\.safetensors"):
        load_backbone(path)


def test_item_biases_start_from_training_popularity_alone() -> None:
    events = cyclic_events()
    item = events.item.copy()
    item[last_events() - 3] = 5  # training: makes item 5 the most popular by far
    item[last_events()] = 9  # test: must not count
    frozen = QUICK.model_copy(update={"cycles": (Cycle(epochs=1, learning_rate=1e-9),)})
    bias = train(replace(events, item=item), frozen).table.bias
    assert bias.argmax() == 5
    counted = np.bincount(item.reshape(USERS, LENGTH)[:, :-2].ravel(), minlength=ITEMS)
    order = np.argsort(bias.detach().numpy(), kind="stable")
    assert (np.diff(counted[order]) >= 0).all()
