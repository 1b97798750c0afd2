"""Small encoders of every backbone with weights that matter, and requests to them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from training.encoders.base import Encoder
from training.encoders.choice import CONFIGS

DIM, WINDOW = 8, 12


def make_encoder(backbone: str, **changes: object) -> Encoder:
    torch.manual_seed(3)
    settings: dict[str, object] = {"dim": DIM, "window": WINDOW, "copy_hidden": 4}
    model = CONFIGS[backbone].model_validate(settings | changes).build()
    with torch.no_grad():  # biases that start at zero must matter in these tests
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def make_request(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(length)
    vectors = torch.randn(batch, length, DIM, generator=rng)
    age = torch.rand(batch, length, generator=rng).mul(300.0).sort(1, descending=True).values
    hour = torch.rand(batch, length, generator=rng) * 168.0
    return vectors, age, hour, torch.rand(batch, generator=rng) * 168.0


def assert_graph_agrees(
    session: onnxruntime.InferenceSession, model: Encoder, request: tuple[torch.Tensor, ...]
) -> None:
    """The exported graph answers what the model does."""
    with torch.no_grad():
        expected = model(*request)
    names = [i.name for i in session.get_inputs()]
    every = ("item_vectors", "age_hours", "event_hour", "request_hour")
    feeds = {n: t.numpy() for n, t in zip(every, request, strict=True) if n in names}
    for ours, theirs in zip(session.run(None, feeds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
