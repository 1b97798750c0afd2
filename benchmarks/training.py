"""A training step of the backbone against the matrix products that it cannot do without."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import BenchmarkLine, interleaved
from shared.interactions import InteractionLog
from shared.split import Split
from training.backbone.batches import events_of, training_windows
from training.backbone.fit import BackboneFit, BackboneOptions
from training.backbone.item_table import ItemParameters
from training.encoders.base import EncoderConfig
from training.encoders.sasrec import SASRecConfig
from training.learning import reproducible

ROUNDS = 10


class BareProducts:
    """Linear maps, attention and scores of one step, forwards and back, on numbers ready-made.

    Maps and attention are taken in float32 and scores in bfloat16, as the training does. Those of
    all places are counted, also where the last block has nothing to answer.
    """

    def __init__(
        self, config: SASRecConfig, rows: int, length: int, targets: int, n_items: int
    ) -> None:
        d, places = config.dim, rows * length
        maps = [(d, d), (d, 2 * d), (d, d), (d, 4 * d), (4 * d, d)] * config.layers
        maps += [(d, d), (d, d), (d, d), (3 * d, d)]  # input, e_str, copy query and key
        head = d // config.heads
        self.products = [(torch.randn(places, a), torch.randn(a, b)) for a, b in maps]
        asking = torch.randn(rows * config.heads, length, head)
        for _ in range(config.layers):
            shares = torch.randn(rows * config.heads, length, length)
            self.products += [(asking, asking.mT.contiguous()), (shares, asking)]
        states = torch.randn(rows, length, d)
        self.products += [(states, states.mT.contiguous())] * 2  # copy logits, scores of the past
        low = torch.randn(targets, d).bfloat16()
        self.products.append((low, torch.randn(n_items, d).bfloat16().T))
        self.logits = torch.randn(rows * config.heads, length, length)
        self.layers = config.layers

    def __call__(self) -> None:
        for left, right in self.products:
            out: Tensor = left @ right
            out @ right.mT  # what reaches the left factor, and the right one
            left.mT @ out
        for _ in range(self.layers):
            self.logits.softmax(-1)


def compare_training(
    log: InteractionLog, split: Split, config: EncoderConfig, options: BackboneOptions
) -> list[BenchmarkLine]:
    """Time steps on one batch of the log's own windows, on one thread.

    Nothing for other backbones than SASRec, whose products are not counted here.
    """
    if not isinstance(config, SASRecConfig):
        return []
    train = events_of(log).keep_first(split.calibration_start)
    windows = training_windows(
        train, config.window, max(1, config.window // 2), np.random.default_rng(0)
    )
    n_items = len(log.catalogue)
    with reproducible(seed=0, threads=1):
        batch = windows.rows(torch.randperm(len(windows))[: options.batch_windows])
        rows, length = batch.item.shape
        model = config.build().train()
        fit = BackboneFit(model, ItemParameters(n_items, config.dim), options, seed=0)
        limit = BareProducts(config, rows, length, int(batch.wanted.sum()), n_items)
        found = interleaved(lambda: fit.learn(batch), limit, rounds=ROUNDS, calls=1)
    name = f"training step, {rows} windows of {length} / its matrix products alone"
    return [BenchmarkLine.timed(name, found, "lower, 1 is the limit")]
