"""GRU4Rec beyond what every encoder promises: a recurrence that exports and is chosen by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from scalrec.settings import load_settings
from tests.support.encoders import WINDOW, assert_graph_agrees, make_encoder, make_request
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
from training.encoders.gru4rec import GRU4Rec, GRU4RecConfig
from training.export.onnx_graphs import export_encoder
from training.options import encoder_config

LONGER = QUICK.model_copy(update={"cycles": (Cycle(epochs=12, learning_rate=5e-3),)})


def test_the_state_after_an_event_is_made_of_the_former_state_and_the_event() -> None:
    model = make_encoder("gru4rec", layers=1, has_time=False, return_mechanism=False)
    assert isinstance(model, GRU4Rec)
    request = make_request(2, 6)
    x = model.embed_norm(model.embed_item(request[0]))
    state = torch.zeros(2, model.config.hidden)
    (layer,) = model.layers
    cell = torch.nn.GRUCell(model.config.dim, model.config.hidden)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    for place in range(6):
        state = cell(x[:, place], state)
    e_str = model.to_e_str(model.final_norm(model.to_state(state)))
    torch.testing.assert_close(model(*request)[0], e_str, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", first_quick([WINDOW, 1, 3]))
@pytest.mark.parametrize(("has_time", "returns"), first_quick([(True, True), (False, False)]))
def test_the_exported_graph_agrees_at_every_length(
    window: int, has_time: bool, returns: bool
) -> None:
    model = make_encoder("gru4rec", window=window, has_time=has_time, return_mechanism=returns)
    session = onnxruntime.InferenceSession(export_encoder(model))
    for length in range(1, window + 1):
        for batch in (1, 3):
            assert_graph_agrees(session, model, make_request(batch, length))


@pytest.mark.parametrize("returns", [True, False])
def test_a_small_training_learns_and_comes_back_from_disk(returns: bool, tmp_path: Path) -> None:
    events = cyclic_events()
    config = GRU4RecConfig(
        dim=16, layers=1, window=8, dropout=0.0, return_mechanism=returns, hidden=24
    )
    trained = train(events, LONGER, config=config)
    assert trained.history[-1].train_loss < 0.9 * np.log(30)
    path = tmp_path / "backbone.safetensors"
    save_backbone(trained, path)
    back = load_backbone(path)
    assert isinstance(back.model, GRU4Rec)
    assert back.model.config == config
    assert same_weights(trained, back)
    ranks = [target_ranks(t.model, t.table, events, last_events()) for t in (trained, back)]
    np.testing.assert_array_equal(*ranks)


def test_the_setting_chooses_it() -> None:
    settings = load_settings(training={"backbone": "gru4rec"})
    assert type(encoder_config(settings, has_time=True)) is GRU4RecConfig
