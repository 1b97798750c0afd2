"""Checkpoint: adapters in training on disk, so that a run that was ended goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from training.tuning.adapters import AdaptedEncoder

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TuningEpoch:
    """What one epoch showed on validation; epoch 0 is the model as it came.

    Attributes:
        train_loss: mean in-batch cross-entropy in nats; None for epoch 0.
        validation_loss: cross-entropy of the next item among all next items of the sample.
        validation_ndcg10: of the same ranking, by cosine alone.
    """

    epoch: int
    train_loss: float | None
    validation_loss: float
    validation_ndcg10: float
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """One safetensors file: adapters now and at their best, the optimizer's moments, history."""

    path: Path

    def write(
        self,
        encoder: AdaptedEncoder,
        optimizer: torch.optim.Optimizer,
        history: list[TuningEpoch],
        best: dict[str, Tensor],
    ) -> None:
        """Replace the file at once: a reader sees the old or the new one whole."""
        tensors = {f"now.{name}": value for name, value in encoder.copied_adapters().items()}
        tensors |= {f"best.{name}": value.clone() for name, value in best.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": state[name].clone() for name in _MOMENTS}
        metadata = {"history": json.dumps([asdict(epoch) for epoch in history])}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_bytes(save(tensors, metadata=metadata))
        partial.replace(self.path)

    def restore(
        self, encoder: AdaptedEncoder, optimizer: torch.optim.Optimizer
    ) -> tuple[list[TuningEpoch], dict[str, Tensor]]:
        """Epochs that are done and the best adapters; nothing done where no file fits."""
        fresh = encoder.copied_adapters()
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            history = [TuningEpoch(**one) for one in json.loads(metadata["history"])]
            best = {name: tensors[f"best.{name}"] for name in fresh}
            encoder.load_adapters({name: tensors[f"now.{name}"] for name in fresh})
            state = optimizer.state_dict()
            state["state"] = {
                number: {name: tensors[f"optimizer.{number}.{name}"] for name in _MOMENTS}
                for number in range(len([n for n in tensors if n.endswith(".exp_avg")]))
            }
            optimizer.load_state_dict(state)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
            encoder.load_adapters(fresh)
            return [], fresh
        return history, best

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
