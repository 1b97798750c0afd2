from __future__ import annotations

import numpy as np
import pytest
import torch

from shared.errors import DataError
from shared.split import split_log
from tests.support.logs import KINDS, drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import merge, stale_anchors, training_anchors
from training.semantic.held_out import HeldOut
from training.semantic.projector import JUDGED_WEIGHTS, FittedProjector, Projector, ProjectorOptions
from training.semantic.projector import fit_projector as fit
from training.semantic.requests import Requests, make_requests

DIM, TEXT = 8, 12
QUICK = ProjectorOptions(
    epochs=15, batch_size=32, learning_rate=3e-3, dropout=0.0, horizon=1, exclude_seen=False
)


def make(returns: bool = True) -> tuple[Requests, np.ndarray, np.ndarray, np.ndarray]:
    """Requests whose structure knows nothing, and texts that tell the kind the user wants next."""
    log = drifting_log(users=30, events=30, returns=returns)
    split = split_log(log, test_steps=2)
    trained_on = training_anchors(split, 12)
    anchors = merge(trained_on, stale_anchors(split.validation(), (0, 5)))
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=5, return_mechanism=False)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    with torch.no_grad():
        table.vectors[:, :4] = 2.0 * torch.eye(4)[torch.arange(len(log.catalogue)) % len(KINDS)]
        model.to_e_str.weight.mul_(0.01)
    events = events_of(log).keep_first(split.test_start)
    requests = make_requests(model, table, events, anchors)
    rng = np.random.default_rng(1)
    kind = np.eye(4)[requests.target.numpy() % len(KINDS)]
    text = np.concatenate([kind, np.ones((len(anchors), TEXT - 4))], 1) * 0.1
    text += 0.01 * rng.standard_normal(text.shape)
    steps = split.validation()
    return (
        requests,
        text.astype(np.float32),
        anchors.find(trained_on.user, trained_on.tau),
        anchors.find(steps.user, steps.step),
    )


def test_learns_what_texts_say_and_weighs_it() -> None:
    requests, text, training, validation = make()
    fitted = fit(requests, text, training, validation, QUICK, seed=0, threads=1)
    assert fitted.validation_fused > fitted.validation_structure + 0.1
    assert fitted.validation_semantic > fitted.validation_structure + 0.1
    assert fitted.vectors is None
    with torch.no_grad():
        e_sem = fitted.projector(torch.from_numpy(text[validation]))
    held = HeldOut(requests, validation, exclude_seen=False)
    assert max(held.mean(e_sem, weight) for weight in JUDGED_WEIGHTS) == fitted.validation_fused
    assert held.mean(e_sem, 0.0) == fitted.validation_structure


def test_items_get_vectors_that_texts_can_point_at() -> None:
    requests, text, training, validation = make()
    blind = requests.equipped(0.01 * torch.randn(requests.semantics.shape), None)
    shared, own = (
        fit(
            blind,
            text,
            training,
            validation,
            QUICK.model_copy(update={"own_vectors": own}),
            threads=1,
        )
        for own in (False, True)
    )
    assert own.vectors is not None
    assert own.vectors.shape == requests.table.vectors.shape
    assert own.validation_semantic > shared.validation_semantic + 0.1
    with torch.no_grad():
        e_sem = own.projector(torch.from_numpy(text[validation]))
    held = HeldOut(blind.equipped(own.vectors, None), validation, exclude_seen=False)
    assert held.mean(e_sem, 1.0, own=False) == own.validation_semantic


def test_same_seed_same_weights() -> None:
    requests, text, training, validation = make()
    options = QUICK.model_copy(update={"epochs": 2, "dropout": 0.2})

    def weights(seed: int) -> torch.Tensor:
        fitted = fit(requests, text, training, validation, options, seed=seed, threads=1)
        return torch.cat([p.detach().flatten() for p in fitted.projector.parameters()])

    torch.manual_seed(123)
    first = weights(5)
    torch.manual_seed(321)
    assert torch.equal(first, weights(5))
    assert not torch.equal(first, weights(6))


def test_structure_stays_frozen() -> None:
    requests, text, training, validation = make()
    before = requests.table.vectors.clone(), requests.e_str.clone()
    fit(requests, text, training, validation, QUICK.model_copy(update={"epochs": 1}))
    assert torch.equal(requests.table.vectors, before[0])
    assert torch.equal(requests.e_str, before[1])


def test_training_reads_no_text_but_that_of_training_steps() -> None:
    requests, text, training, validation = make()
    options = QUICK.model_copy(update={"epochs": 1})
    other = text.copy()
    outside = np.setdiff1d(np.arange(len(text)), training)
    other[outside] = 7.0

    def weights(texts: np.ndarray) -> FittedProjector:
        return fit(requests, texts, training, validation[:0], options, seed=0, threads=1)

    a, b = weights(text).projector.state_dict(), weights(other).projector.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_excluding_seen_items_leaves_repeats_out_of_training() -> None:
    requests, text, training, validation = make(returns=True)
    options = QUICK.model_copy(update={"epochs": 1, "exclude_seen": True})
    fitted = fit(requests, text, training, validation, options, seed=0, threads=1)
    assert np.isfinite(fitted.validation_fused)
    fresh = requests.fresh_targets(training)
    assert 0 < fresh.sum() < len(training)
    with pytest.raises(DataError, match="no user has enough events"):
        fit(requests, text, training[~fresh], validation, options)


def test_fresh_targets_are_items_the_user_never_had() -> None:
    requests, *_ = make()
    anchors, events = requests.anchors, requests.events
    fresh = requests.fresh_targets(np.arange(len(anchors)))
    for row in range(0, len(anchors), 11):
        first = events.user_start[anchors.user[row]]
        had = set(events.item[first : first + anchors.tau[row]].tolist())
        assert fresh[row] == (int(requests.target[row]) not in had)


def test_divergence_is_an_error() -> None:
    requests, text, training, validation = make()
    with pytest.raises(DataError, match="diverged"):
        fit(requests, np.full_like(text, np.nan), training, validation, QUICK)


def test_normaliser_is_part_of_the_graph() -> None:
    torch.manual_seed(0)
    projector = Projector(6, 3).eval()
    text = torch.randn(50, 6) * 0.01 + 4
    before = projector(text)
    projector.fit_normaliser(text)
    assert set(projector.state_dict()) >= {"mean", "scale"}
    after = projector(text)
    assert (after.std(0) > 5 * before.std(0)).all()
