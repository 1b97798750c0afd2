"""The device's SRM as stages: trained on its own, then on the cloud's lists."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import DataError
from shared.progress import Progress
from training import stage_forms
from training.background import in_thread
from training.encoders.din import DINConfig
from training.fingerprint import code_hash_with_cloud, items_read
from training.generative.trained import TrainedGenerator
from training.item_table import ItemTable
from training.lsc4rec.asked import LATENESS
from training.lsc4rec.cooperative import (
    Cooperative,
    CooperativeEpoch,
    CooperativeOptions,
    cooperate,
)
from training.lsc4rec.lists import Listed
from training.lsc4rec.srm import EncoderSrm, ScorerSrm, Srm
from training.options import item_start
from training.pipeline import TrainingRun, events_of
from training.scorer_fit import ScorerEpoch, ScorerOptions, TrainedScorer, train_scorer
from training.stages import Saved, load_arrays, save_arrays, stage_key

_DIN_CODE = ("training.scorer_fit", "training.encoders.din", "training.semantics", "shared.split")
_COOPERATIVE_CODE = ("training.lsc4rec.cooperative",)


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
        return DeviceModel(srm, run.keys["backbone"], seconds)
    settings = run.settings
    config, options = _din(run)
    key = stage_key(
        code=code_hash_with_cloud(_DIN_CODE),
        torch=torch.__version__,
        seed=settings.seed,
        threads=settings.training.threads,
        upstream=[items_read(settings, run.keys["items"], run.log)],
        split=settings.training.model_dump(
            include={"test_steps", "validation_steps", "calibration_steps"}
        ),
        config=config.model_dump(),
        options=options.model_dump(),
    )
    items = await run.stage("items", run.embed_items, stage_forms.MATRIX)

    async def build() -> TrainedScorer:
        return await in_thread(
            lambda progress: train_scorer(
                events_of(run.log),
                config,
                options,
                n_items=len(run.log.catalogue),
                validation_start=run.split.calibration_start,
                test_start=run.split.test_start,
                item_init=item_start(settings, items),
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            run.progress,
        )

    form = Saved(save=_save_scorer, load=lambda folder: _load_scorer(folder, config))
    trained = await run.store.run("din", key, build, form)
    seconds = float(np.mean([epoch.seconds for epoch in trained.history]))
    return DeviceModel(ScorerSrm(trained.model, trained.table), key, seconds)


async def cooperative_srm(
    run: TrainingRun,
    device: DeviceModel,
    generator: TrainedGenerator,
    listed: Listed,
    lists_key: str,
) -> Cooperative:
    """The SRM after training on the cloud's lists."""
    settings, late = run.settings, LATENESS
    chosen = settings.lsc4rec
    options = CooperativeOptions(
        epochs=chosen.cooperative_epochs,
        exclude_seen=run.policy == "exclude",
    )
    key = stage_key(
        code=code_hash_with_cloud(_COOPERATIVE_CODE),
        torch=torch.__version__,
        seed=settings.seed,
        threads=settings.training.threads,
        upstream=[device.key, lists_key],
        options=options.model_dump(),
    )

    def fit(progress: Progress) -> Cooperative:
        return cooperate(
            device.srm,
            listed.training,
            listed.of_training,
            listed.validation,
            listed.of_validation[late],
            generator.tokens,
            options,
            seed=settings.seed,
            threads=settings.training.threads,
            progress=progress,
        )

    async def build() -> Cooperative:
        return await in_thread(fit, run.progress)

    form = Saved(save=_save_cooperative, load=lambda folder: _load_onto(folder, device.srm))
    return await run.store.run("cooperative", key, build, form)


def _din(run: TrainingRun) -> tuple[DINConfig, ScorerOptions]:
    settings, chosen = run.settings, run.settings.lsc4rec
    config = DINConfig(
        dim=settings.training.dim,
        window=settings.profile.window,
        dropout=settings.training.dropout,
    )
    options = ScorerOptions(
        epochs=chosen.din_epochs,
        exclude_seen=run.policy == "exclude",
    )
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
    table = ItemTable(len(arrays["table.bias"]), config.dim)
    history = tuple(ScorerEpoch(**epoch) for epoch in values["epochs"])
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
    return Cooperative(srm, tuple(CooperativeEpoch(**epoch) for epoch in values["epochs"]))
