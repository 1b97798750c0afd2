"""One cell of RQ1: every method of both papers on the same requests as the product.

Two settings. ``full``: all items, under the repeat policy of the log. ``S2``: the cloud's list of
the snapshot's moment and nothing else: the own list of a method whose cloud makes one, SCaLRec's
for the others. What the product compares itself with (counters, structure, ensemble, student,
calibrated, the simpler remedies) is scored by its own study, so all differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cloud_service.embedding.base import Embedder
from experiments.studies.cell import CellScores
from experiments.studies.rq1.method_stage import method_stage
from experiments.studies.rq1.worlds import fitting_on
from experiments.studies.scalrec.extras import sizes
from experiments.studies.scalrec.scores import StepRanks, aggregate
from experiments.studies.scalrec.study import Product, product_of
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.baselines.base import FLOAT_BYTES, Baseline, World, weights_in
from training.baselines.device_time import encoder_us
from training.baselines.registry import BASELINES
from training.run import opened_run
from training.settings import BaselineSettings, Recipe

SETTINGS = ("full", "S2")
COUNTERS = ("popularity", "frequency", "frequency_all", "decayed", "decayed_all")


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellScores:
    """Train the product and every method that ``settings.baselines`` names, and rank with each.

    Raises:
        ConfigError: a name is of no method, or training does not know all items.
        DataError, EmbedderError: as ``training.train.train``, or a method cannot be trained.
    """
    methods = chosen(settings.baselines, BASELINES)
    async with opened_run(settings, log, embedder, progress) as run:
        run.require_all_items("a comparison with other papers' methods")
        product = await product_of(run)
        ranks = product.ranks(SETTINGS)
        repeat_counters(ranks, settings.paper.gaps)
        extras = product_costs(product)
        most = settings.baselines.epochs
        if most is None:
            extras["device_us_structure"] = encoder_us(product.trained.backbone.model)
        fitting = fitting_on(run, product.trained, product.chosen_on, most_epochs=most)
        world = World(product.twin, product.scored.texts)
        for name, method in methods.items():
            found = await run.result(
                method_stage(run, fitting, world, product.scored.steps, name, method)
            )
            extras |= {f"{cost}_{name}": value for cost, value in found.costs.items()}
            for gap in settings.paper.gaps:
                ranks.add("full", gap, name, found.full[gap])
                ranks.add("S2", gap, name, found.listed[gap])
        return CellScores(aggregate(ranks), extras)


def repeat_counters(ranks: StepRanks, gaps: Sequence[int]) -> None:
    """Counters read no snapshot: over all items they rank at every age as at gap 0."""
    for (setting, gap, scorer), found in list(ranks.found.items()):
        if (setting, gap) == ("full", 0) and scorer in COUNTERS:
            for other in gaps:
                ranks.add("full", other, scorer, found)


def chosen(settings: BaselineSettings, known: Mapping[str, Baseline]) -> dict[str, Baseline]:
    """The methods that a cell fits, in the registry's order.

    Raises:
        ConfigError: a name is of no method.
    """
    if settings.methods is None:
        return dict(known)
    if unknown := [name for name in settings.methods if name not in known]:
        raise ConfigError(
            f"baselines.methods names {unknown[0]!r}, which is no method: there are "
            f"{', '.join(known)}"
        )
    return {name: method for name, method in known.items() if name in settings.methods}


def product_costs(product: Product) -> dict[str, float]:
    """The same of the product's own rows, as far as they differ in what they hold."""
    size, seconds = sizes(product.trained), product.run.store.seconds
    backbone, texts = product.trained.backbone, product.scored.texts
    structure = weights_in(backbone.model, backbone.table)
    calibrated = sum(size.values())
    parameters = {"structure": structure, "ensemble": 2 * structure, "calibrated": calibrated}
    held = {name: FLOAT_BYTES * count for name, count in parameters.items()}
    held["calibrated"] -= (FLOAT_BYTES - 1) * size["words"]  # a student's weights are int8
    spent = {
        "structure": seconds.get("backbone", 0.0),
        "ensemble": 2 * seconds.get("backbone", 0.0),
        "calibrated": sum(seconds.values()),
    }
    found = {f"parameters_{name}": float(count) for name, count in parameters.items()}
    found |= {f"device_bytes_{name}": float(count) for name, count in held.items()}
    found |= {f"seconds_{name}": value for name, value in spent.items()}
    # e_sem and e_str of the snapshot's moment.
    found["snapshot_bytes_calibrated"] = float(2 * FLOAT_BYTES * backbone.model.config.dim)
    found["cloud_words_calibrated"] = float(np.mean([len(text.split()) for text in texts]))
    return found
