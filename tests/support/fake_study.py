"""A study that trains nothing: scores as a cell would bring them, drawn from a known model.

Each scorer has a true NDCG@10 at each setting and gap (``truth``), each user a level of their own
that all scorers share, so paired differences are far surer than scores.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import polars as pl

from cloud_service.embedding.base import Embedder
from experiments.study import SCHEMA, CellResult
from scalrec.settings import Settings
from shared.interactions import InteractionLog
from shared.progress import Progress

GAPS = (0, 5, 10)
LEVELS = {
    "structure": 0.30, "semantic": 0.20, "fused": 0.34, "ensemble": 0.31, "popularity": 0.05,
    "frequency": 0.20, "decayed": 0.22, "gate": 0.31, "discount": 0.315, "oracle": 0.335,
    "counts": 0.305, "student": 0.314, "words": 0.15, "frequency_all": 0.19, "decayed_all": 0.21,
    "ensemble_counts": 0.312, "ensemble_calibrated": 0.33,
}  # fmt: skip
OLD = ("stale", "wordless")  # as the snapshot is, with words beside it and without
STALE = {0: 0.34, 5: 0.28, 10: 0.26}
RECOVERED = 0.75
STEPS = 4
# A cell that finds this file kills its own process, as an out-of-memory killer would.
KILL_FILE = "FAKE_STUDY_KILL"
# A cell that finds this variable asks the embedder for this text.
TEXT = "FAKE_STUDY_TEXT"
SLOW = "FAKE_STUDY_SECONDS"


def truth(scorer: str, setting: str, gap: int) -> float:
    """The level scores are drawn around."""
    drop = 0.1 * (gap > 0) if setting == "S2" else 0.0
    if scorer in OLD:
        return STALE[gap] - drop
    if scorer == "calibrated" and gap == 0:
        return STALE[0] + 0.003 - drop  # above all noise, so that no gate fails by chance
    if scorer == "calibrated":
        return STALE[gap] + RECOVERED * (STALE[0] - STALE[gap]) - drop
    return LEVELS[scorer] - drop


def invented(users: int, seed: int, *, shift: float = 0.0) -> pl.DataFrame:
    """Scores of one cell; ``shift`` is added to what calibrated scores."""
    rng = np.random.default_rng(seed)
    level = np.random.default_rng(99).normal(0, 0.05, users)  # the users' own, in every cell
    tables = []
    for setting in ("full", "device", "S1", "S2"):
        for gap in GAPS if setting != "full" else (0,):
            for scorer in (*LEVELS, *OLD, "calibrated"):
                extra = shift if scorer == "calibrated" else 0.0
                for part, loo, n in (
                    ("all", False, STEPS),
                    ("return", False, STEPS - 1),
                    ("discovery", False, 1),
                    ("all", True, 1),
                ):
                    noise = rng.normal(0, 0.004, users)
                    value = np.clip(truth(scorer, setting, gap) + extra + level + noise, 0, 1)
                    tables.append(
                        pl.DataFrame(
                            {
                                "user": np.arange(users, dtype=np.int32),
                                "scorer": scorer,
                                "setting": setting,
                                "gap": gap,
                                "part": part,
                                "loo": loo,
                                "n": n,
                                "ndcg10": value * n,
                                "ndcg5": value * n * 0.9,
                                "hr10": np.minimum(1.0, value * 1.4) * n,
                                "hr5": value * n,
                            }
                        )
                    )
    return pl.concat(tables).cast(SCHEMA)


async def run_cell(
    settings: Settings, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellResult:
    """Invented scores; the seed and gamma_max matter, nothing else does."""
    with progress.task("pretending to train", total=10) as task:
        for _ in range(10):
            await asyncio.sleep(float(os.environ.get(SLOW, "0")) / 10)
            task.advance()
    kill = os.environ.get(KILL_FILE)
    if kill and Path(kill).exists() and settings.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dim = 0
    if text := os.environ.get(TEXT):
        dim = (await embedder.embed([text])).shape[1]
    scores = invented(log.n_users, settings.seed, shift=0.01 * (settings.training.gamma_max == 0))
    extras = {"mean_r": 0.8 + 0.01 * settings.seed, "dim": dim, "undefined": float("nan")}
    return CellResult(scores, extras)
