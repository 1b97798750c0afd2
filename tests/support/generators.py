"""Bundles with a small generator, trained in moments on a rule: item i is followed by i + 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cloud_service.generation.network import encode_weights
from shared.bundle import GENERATOR_FILE, TOKENS_FILE, Bundle, write_bundle
from shared.generator_config import Generative, GeneratorConfig, GeneratorSpec
from shared.item_tokens import encode_tokens
from training.backbone.batches import Events
from training.generative.fit import GeneratorOptions, Validation, train_generator
from training.generative.item_codes import random_tokens
from training.generative.trained import TrainedGenerator
from training.learning import Checkpoint

HISTORY = 4


def small_generator(
    bundle: Bundle, folder: Path, *, epochs: int = 0, model: Generative = "p5"
) -> TrainedGenerator:
    """Of the bundle's items; ``epochs`` 0 leaves the network random."""
    n_items = bundle.manifest.n_items
    tokens = random_tokens(bundle.catalogue(), levels=2)
    config = GeneratorConfig(
        model=model,
        levels=tokens.sizes,
        history=HISTORY,
        d_model=32,
        d_ff=64,
        d_kv=8,
        layers=1,
        dropout=0.0,
    )
    options = GeneratorOptions(
        epochs=max(1, epochs), patience=99, batch_size=2, learning_rate=3e-3 if epochs else 1e-9,
        weight_decay=0.0, label_smoothing=0.0, exclude_seen=False,
        precision="float32",
    )  # fmt: skip
    first = np.arange(n_items)
    item = (first[:, None] + np.arange(6)) % n_items
    users = np.arange(n_items + 1) * 6
    train = Events(item.ravel(), np.zeros(item.size), users)
    validation = Validation(tuple(item[:, :3]), item[:, 3])
    network, reports = train_generator(
        train, validation, tokens, config, options, checkpoint=Checkpoint(folder / "unfinished")
    )
    return TrainedGenerator(network, tokens, reports)


def with_generator(
    bundle: Bundle, path: Path, trained: TrainedGenerator, *, told: bool = True
) -> Bundle:
    """The same bundle with a generator in it; ``told``: its devices send item tokens."""
    files = {name: bundle.file(name).read_bytes() for name in bundle.manifest.files}
    files[GENERATOR_FILE] = encode_weights(trained.network)
    files[TOKENS_FILE] = encode_tokens(trained.tokens)
    spec = GeneratorSpec(config=trained.network.config, devices_send_tokens=told)
    return write_bundle(path, bundle.manifest.model_copy(update={"generator": spec}), files)
