"""Checkpoint: an unfinished training run on disk, and a finished generator."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cloud_service.generation.network import GenerativeNetwork

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class GeneratorEpoch:
    """What one finished epoch showed; ``seconds`` are those of training alone."""

    epoch: int
    train_loss: float  # mean negative log likelihood in nats a token
    validation_ndcg10: float  # of a sample of users, full ranking
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """One safetensors file: weights, the best weights so far, the optimizer's moments, history."""

    path: Path

    def write(
        self,
        network: GenerativeNetwork,
        optimizer: torch.optim.Optimizer,
        history: list[GeneratorEpoch],
        best: dict[str, Tensor],
    ) -> None:
        """Replace the file at once: a reader sees the old or the new one whole."""
        tensors = {f"now.{k}": v.clone() for k, v in network.state_dict().items()}
        tensors |= {f"best.{k}": v.clone() for k, v in best.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": state[name].clone() for name in _MOMENTS}
        metadata = {
            "config": network.config.model_dump_json(),
            "history": json.dumps([asdict(report) for report in history]),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_bytes(save(tensors, metadata=metadata))
        partial.replace(self.path)

    def restore(
        self, network: GenerativeNetwork, optimizer: torch.optim.Optimizer
    ) -> tuple[list[GeneratorEpoch], dict[str, Tensor]]:
        """Epochs that are done and the best weights; nothing done where no file fits."""
        fresh = {k: v.clone() for k, v in network.state_dict().items()}
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["config"] != network.config.model_dump_json():
                return [], fresh
            history = [GeneratorEpoch(**one) for one in json.loads(metadata["history"])]
            best = _part(tensors, "best.")
            network.load_state_dict(_part(tensors, "now."))
            state = optimizer.state_dict()
            count = len([name for name in tensors if name.endswith(".exp_avg")])
            state["state"] = {
                number: {name: tensors[f"optimizer.{number}.{name}"] for name in _MOMENTS}
                for number in range(count)
            }
            optimizer.load_state_dict(state)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
            network.load_state_dict(fresh)
            return [], fresh
        return history, best

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
