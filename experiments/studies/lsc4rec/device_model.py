"""The device's SRM as stages: trained on its own, then on the cloud's lists."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.studies.lsc4rec.lists import Listed
from shared.errors import DataError
from shared.progress import Progress
from training.backbone.item_table import ItemParameters
from training.backbone.scorer_fit import ScorerOptions, TrainedScorer, train_scorer
from training.collaboration.asked import Asked, Lists
from training.collaboration.cooperative import (
    Cooperative,
    CooperativeOptions,
    cooperate,
)
from training.collaboration.ranks import list_ranks
from training.collaboration.srm import EncoderSrm, ScorerSrm, Srm
from training.encoders.din import DINConfig
from training.generative.trained import TrainedGenerator
from training.learning import Epoch
from training.run import TrainingRun
from training.semantic.texts import reduce_vectors
from training.stages.backbone import FITTING
from training.stages.embedding import EMBEDDING
from training.stages.forms import Saved, load_arrays, save_arrays
from training.stages.stage import Stage, threaded

DIN_EPOCHS = 6


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """An SRM trained on its own, the key of its stage and what an epoch took."""

    srm: Srm
    key: str
    seconds_per_epoch: float

    @property
    def parameters(self) -> int:
        """Weights of the network and of the item table."""
        modules = (self.srm.model, self.srm.table)
        return sum(p.numel() for module in modules for p in module.parameters())


async def independent_srm(run: TrainingRun) -> DeviceModel:
    """As ``lsc4rec.srm`` and ``training.backbone`` ask, trained on the training events."""
    if run.settings.lsc4rec.srm == "backbone":
        backbone = await run.backbone()
        srm: Srm = EncoderSrm(backbone.model, backbone.table)
        seconds = float(np.mean([epoch.seconds for epoch in backbone.history]))
        return DeviceModel(srm, run.structure.key, seconds)
    stage = din_stage(run)
    trained = await run.result(stage)
    seconds = float(np.mean([epoch.seconds for epoch in trained.history]))
    return DeviceModel(ScorerSrm(trained.model, trained.table), stage.key, seconds)


def din_stage(run: TrainingRun) -> Stage[TrainedScorer]:
    """A deep interest network in the place of the run's encoder."""
    settings = run.settings
    config, options = _din(run)
    events, split, n_items = run.steps.events, run.split, len(run.log.catalogue)
    seed, threads = settings.seed, settings.training.threads

    def fit(progress: Progress, *text: NDArray[np.float32]) -> TrainedScorer:
        return train_scorer(
            events,
            config,
            options,
            n_items=n_items,
            calibration_start=split.calibration_start,
            validation_start=split.validation_start,
            test_start=split.test_start,
            item_init=reduce_vectors(text[0], config.dim, seed) if text else None,
            seed=seed,
            threads=threads,
            progress=progress,
        )

    return Stage(
        name="din",
        options=(config, options, seed, threads),
        inputs={
            "events": events,
            "calibration_start": split.calibration_start,
            "validation_start": split.validation_start,
            "test_start": split.test_start,
            "n_items": n_items,
        },
        upstream=(run.items,) if settings.training.item_start == "text" else (),
        code=(din_stage, *FITTING, train_scorer, reduce_vectors, *EMBEDDING),
        build=threaded(fit),
        form=Saved(save=_save_scorer, load=lambda folder: _load_scorer(folder, config)),
    )


async def cooperative_srm(
    run: TrainingRun,
    device: DeviceModel,
    generator: TrainedGenerator,
    listed: Listed,
    lists_key: str,
) -> Cooperative:
    """The SRM after training on the cloud's lists."""
    return await run.result(cooperative_stage(run, device, generator, listed, lists_key))


def cooperative_stage(
    run: TrainingRun,
    device: DeviceModel,
    generator: TrainedGenerator,
    listed: Listed,
    lists_key: str,
) -> Stage[Cooperative]:
    """``cooperative_srm`` as a stage."""
    settings, late = run.settings, run.settings.lsc4rec.lateness
    options = CooperativeOptions(exclude_seen=run.policy == "exclude")

    def fit(progress: Progress) -> Cooperative:
        return cooperate(
            device.srm,
            listed.calibration,
            listed.of_calibration,
            listed.validation,
            listed.of_validation[late],
            generator.tokens,
            options,
            seed=settings.seed,
            threads=settings.training.threads,
            progress=progress,
        )

    return Stage(
        name="cooperative",
        options=(options, settings.seed, settings.training.threads, run.policy),
        inputs={"device": device.key, "lists": lists_key},
        code=(*(cooperate, Asked, Lists, list_ranks, EncoderSrm, train_scorer), *FITTING),
        build=threaded(fit),
        form=Saved(save=_save_cooperative, load=lambda folder: _load_onto(folder, device.srm)),
    )


def _din(run: TrainingRun) -> tuple[DINConfig, ScorerOptions]:
    settings = run.settings
    config = DINConfig(
        dim=settings.training.dim,
        window=settings.profile.window,
        dropout=settings.training.dropout,
    )
    options = ScorerOptions(epochs=DIN_EPOCHS, exclude_seen=run.policy == "exclude")
    return config, options


def _arrays(srm: Srm | TrainedScorer) -> dict[str, NDArray[Any]]:
    named = {f"model.{k}": v.numpy() for k, v in srm.model.state_dict().items()}
    return named | {f"table.{k}": v.numpy() for k, v in srm.table.state_dict().items()}


def _restore(srm: Srm | TrainedScorer, arrays: dict[str, NDArray[Any]]) -> None:
    state = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
    try:
        for prefix, module in (("model.", srm.model), ("table.", srm.table)):
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            module.load_state_dict(own)
            module.eval()
    except RuntimeError as error:
        raise DataError(f"weights of the SRM do not fit: {error}") from error


def _save_scorer(trained: TrainedScorer, folder: Path) -> None:
    epochs = [asdict(epoch) for epoch in trained.history]
    save_arrays(folder, _arrays(trained), {"epochs": epochs})


def _load_scorer(folder: Path, config: DINConfig) -> TrainedScorer:
    arrays, values = load_arrays(folder)
    table = ItemParameters(len(arrays["table.bias"]), config.dim)
    history = tuple(Epoch(**epoch) for epoch in values["epochs"])
    trained = TrainedScorer(config.build(), table, history)
    _restore(trained, arrays)
    return trained


def _save_cooperative(trained: Cooperative, folder: Path) -> None:
    epochs = [asdict(epoch) for epoch in trained.epochs]
    save_arrays(folder, _arrays(trained.srm), {"epochs": epochs})


def _load_onto(folder: Path, independent: Srm) -> Cooperative:
    arrays, values = load_arrays(folder)
    srm = copy.deepcopy(independent)
    _restore(srm, arrays)
    return Cooperative(srm, tuple(Epoch(**epoch) for epoch in values["epochs"]))
