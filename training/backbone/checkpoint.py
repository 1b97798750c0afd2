"""A trained backbone on disk: one safetensors file that carries its own configuration."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from shared.errors import DataError
from shared.files import write_whole
from training.backbone.fit import BackboneOptions, TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.encoders.choice import read_config
from training.learning import Epoch


def save_backbone(trained: TrainedBackbone, path: Path) -> None:
    """Write atomically: a reader sees the whole file or none."""
    tensors = {f"model.{k}": v.contiguous() for k, v in trained.model.state_dict().items()}
    tensors |= {f"table.{k}": v.contiguous() for k, v in trained.table.state_dict().items()}
    metadata = {
        "config": trained.model.config.model_dump_json(),
        "options": trained.options.model_dump_json(),
        "history": json.dumps([asdict(report) for report in trained.history]),
    }
    write_whole(path, save(tensors, metadata=metadata))


def load_backbone(path: Path) -> TrainedBackbone:
    """Read what `save_backbone` wrote, in eval mode.

    Raises:
        DataError: the file is missing, damaged or of another shape; delete it and train again.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = read_config(metadata["config"]).build()
        table = ItemParameters(*tensors["table.vectors"].shape)
        for part, module in (("model.", model), ("table.", table)):
            module.load_state_dict(
                {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
            )
        options = BackboneOptions.model_validate_json(metadata["options"])
        history = tuple(Epoch(**report) for report in json.loads(metadata["history"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"not a usable backbone ({error}); delete it and train again", path
        ) from error
    model.eval()
    return TrainedBackbone(model, table.eval(), options, history)
