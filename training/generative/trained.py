"""TrainedGenerator: a generative recommender with its item tokens, in memory and as a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from cloud_service.generation.network import GenerativeNetwork
from shared.errors import DataError
from shared.generator_config import GeneratorConfig
from shared.item_tokens import ItemTokens
from shared.progress import Progress
from training.generative.candidates import candidate_lists
from training.learning import Epoch, best_of
from training.stages.forms import Saved, load_arrays, save_arrays


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """The weights of the best validation epoch, in eval mode, and how training went."""

    network: GenerativeNetwork
    tokens: ItemTokens
    epochs: tuple[Epoch, ...] = field(default=())

    @property
    def parameters(self) -> int:
        """Weights, each shared one counted once."""
        return self.network.parameter_count()

    @property
    def seconds_per_epoch(self) -> float:
        """Mean wall time of an epoch of training, its validation aside; NaN without any."""
        return float(np.mean([e.seconds for e in self.epochs])) if self.epochs else float("nan")

    @property
    def best(self) -> Epoch:
        return best_of(self.epochs)

    def candidate_lists(
        self,
        histories: Sequence[NDArray[np.integer]],
        n: int,
        *,
        exclude_seen: bool = False,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Items [R, n] and log-probabilities [R, n]; see ``candidates.candidate_lists``."""
        return candidate_lists(
            self.network,
            self.tokens,
            histories,
            n,
            exclude_seen=exclude_seen,
            batch=batch,
            progress=progress,
        )


def _save(trained: TrainedGenerator, folder: Path) -> None:
    network = trained.network
    arrays: dict[str, NDArray[np.generic]] = {"tokens": trained.tokens.codes}
    arrays |= {f"network.{k}": v.numpy() for k, v in network.state_dict().items()}
    values = {
        "config": network.config.model_dump(mode="json"),
        "epochs": [asdict(epoch) for epoch in trained.epochs],
    }
    save_arrays(folder, arrays, values)


def _load(folder: Path) -> TrainedGenerator:
    arrays, values = load_arrays(folder)
    try:
        config = GeneratorConfig.model_validate(values["config"])
        network = GenerativeNetwork(config)
        start = "network."
        network.load_state_dict(
            {
                k.removeprefix(start): torch.from_numpy(v.copy())
                for k, v in arrays.items()
                if k.startswith(start)
            }
        )
        tokens = ItemTokens(arrays["tokens"], config.levels)
        epochs = tuple(Epoch(**epoch) for epoch in values["epochs"])
    except (KeyError, TypeError, RuntimeError, ValidationError) as error:
        raise DataError(f"not a usable generator: {error}", folder) from error
    network.eval()
    return TrainedGenerator(network, tokens, epochs)


GENERATOR: Saved[TrainedGenerator] = Saved(_save, _load)
