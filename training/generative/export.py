"""What a bundle holds of a trained generator."""

from __future__ import annotations

from cloud_service.generation.network import encode_weights
from shared.bundle import GENERATOR_FILE, TOKENS_FILE
from shared.generator_config import GeneratorSpec
from shared.item_tokens import encode_tokens
from training.generative.trained import TrainedGenerator
from training.settings import Recipe


def generator_files(trained: TrainedGenerator | None) -> dict[str, bytes]:
    """Name -> content; nothing without a generator."""
    if trained is None:
        return {}
    return {
        GENERATOR_FILE: encode_weights(trained.network),
        TOKENS_FILE: encode_tokens(trained.tokens),
    }


def generator_spec(trained: TrainedGenerator | None, settings: Recipe) -> GeneratorSpec | None:
    if trained is None:
        return None
    return GeneratorSpec(
        config=trained.network.config, devices_send_tokens=settings.abstract.item_tokens
    )
