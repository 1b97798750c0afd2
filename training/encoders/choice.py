"""The backbones there are, by the name that settings and saved weights give them."""

from __future__ import annotations

import json

from training.encoders.base import EncoderConfig
from training.encoders.gru4rec import GRU4RecConfig
from training.encoders.sasrec import SASRecConfig
from training.encoders.surge import SurgeConfig

CONFIGS: dict[str, type[SASRecConfig] | type[SurgeConfig] | type[GRU4RecConfig]] = {
    "sasrec": SASRecConfig,
    "surge": SurgeConfig,
    "gru4rec": GRU4RecConfig,
}


def read_config(text: str) -> EncoderConfig:
    """The configuration in JSON text.

    Raises:
        KeyError: it names no known backbone.
        ValueError: it is no configuration of the one it names.
    """
    return CONFIGS[json.loads(text)["backbone"]].model_validate_json(text)
