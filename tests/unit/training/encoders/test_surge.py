"""SURGE beyond what every encoder promises: a sparse graph, and graphs that export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from scalrec.settings import Settings, load_settings
from tests.support.encoders import DIM, WINDOW, assert_graph_agrees, make_encoder, make_request
from tests.support.tiers import first_quick
from tests.unit.training.backbone.test_fit import (
    QUICK,
    cyclic_events,
    last_events,
    same_weights,
    train,
)
from training.backbone.checkpoint import load_backbone, save_backbone
from training.backbone.evaluate import target_ranks
from training.backbone.fit import Cycle
from training.encoders.choice import CONFIGS
from training.encoders.sasrec import SASRecConfig
from training.encoders.strongest import strongest
from training.encoders.surge import InterestEvolution, Surge, SurgeConfig
from training.export.onnx_graphs import export_encoder
from training.options import encoder_config

LONGER = QUICK.model_copy(update={"cycles": (Cycle(epochs=12, learning_rate=5e-3),)})


def make_model(**changes: object) -> Surge:
    model = make_encoder("surge", **changes)
    assert isinstance(model, Surge)
    return model


def test_the_strongest_share_is_kept_with_its_ties_and_the_rest_fades() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.9, 0.5, 0.46, 9.0]])
    candidate = torch.tensor([True] * 5 + [False])
    kept = strongest(scores[None], candidate, 0.6, band=0.1)[0]
    torch.testing.assert_close(kept, torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.6, 0.0]]))
    one = strongest(scores[None], candidate, 0.2, band=0.1)[0]
    torch.testing.assert_close(one, torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]))


def test_the_graph_leaves_out_far_events_and_learns_what_is_far() -> None:
    model = make_model(edge_share=0.5)
    similarity, edges = model.interests(model.embed_item(make_request(2, 9)[0]))
    kept = edges[:, -1] > 0
    assert kept[:, -1].all()  # an event is its own neighbour
    assert (kept[:, :-1].sum(-1) >= 4).all()
    assert (kept[:, :-1].sum(-1) < 8).all()
    dropped = similarity[:, -1].masked_fill(kept, -2.0).max(-1).values
    assert (dropped < similarity[:, -1].masked_fill(~kept, 2.0).min(-1).values).all()
    model.encode(*make_request(2, 9))[0].square().sum().backward()
    assert model.interests.weight.grad.abs().sum() > 0


def test_the_unrolled_evolution_is_the_recurrence() -> None:
    torch.manual_seed(0)
    evolution, events = InterestEvolution(DIM, 2), torch.randn(3, 6, DIM)
    strength = torch.rand(3, 1, 6)
    strength[:, :, 2] = 0.0
    candidate = torch.tanh(evolution.candidate(events)).view(3, 6, 2, DIM // 2)
    gates = 0.999 * torch.sigmoid(evolution.gate(events)) * strength[:, 0, :, None]
    state = torch.zeros(3, 2, DIM // 2)
    for i in range(6):
        u = gates[:, i, :, None]
        state = (1 - u) * state + u * candidate[:, i]
    torch.testing.assert_close(evolution(events, strength)[:, 0], state.flatten(1))


@pytest.mark.parametrize(
    ("window", "has_time", "returns"),
    first_quick([(WINDOW, True, True), (3, False, False), (1, True, False)]),
)
def test_the_exported_graph_agrees_at_every_length(
    window: int, has_time: bool, returns: bool
) -> None:
    model = make_model(window=window, has_time=has_time, return_mechanism=returns)
    session = onnxruntime.InferenceSession(export_encoder(model))
    for length in range(1, window + 1):
        for batch in (1, 3):
            request = make_request(batch, length)
            request[0][:, length // 2 :] = request[0][:, :1]  # repeats: similarities that tie
            assert_graph_agrees(session, model, request)


@pytest.mark.parametrize("returns", [True, False])
def test_a_small_training_learns_and_comes_back_from_disk(returns: bool, tmp_path: Path) -> None:
    events = cyclic_events()
    config = SurgeConfig(dim=16, layers=1, window=8, dropout=0.0, return_mechanism=returns)
    trained = train(events, LONGER, config=config)
    assert isinstance(trained.model, Surge)
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    untrained = np.log(30)
    assert trained.history[-1].train_loss < 0.9 * untrained
    path = tmp_path / "backbone.safetensors"
    save_backbone(trained, path)
    back = load_backbone(path)
    assert isinstance(back.model, Surge)
    assert back.model.config == config
    assert same_weights(trained, back)
    ranks = [target_ranks(t.model, t.table, events, last_events()) for t in (trained, back)]
    np.testing.assert_array_equal(*ranks)


def test_the_setting_chooses_the_encoder() -> None:
    assert type(encoder_config(Settings(), has_time=True)) is SASRecConfig
    settings = load_settings(training={"backbone": "surge", "return_mechanism": False})
    config = encoder_config(settings, has_time=True)
    assert type(config) is SurgeConfig
    assert not config.return_mechanism
    assert {name: kind().backbone for name, kind in CONFIGS.items()} == {n: n for n in CONFIGS}
