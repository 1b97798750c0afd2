"""What a device would know at a request with an older snapshot, and what a refresh would gain."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from device_runtime.refresh.quadratic_gain import FEATURES
from device_runtime.state.cues import CUES
from shared.metrics import ndcg
from shared.progress import Task
from training.calibration.pairs import Pairs
from training.twin import Twin

Floats = NDArray[np.float64]
CUTOFF = 10


@torch.no_grad()
def features(twin: Twin, pairs: Pairs, task: Task) -> Floats:
    """[P, F] raw, in the order of ``device_runtime.refresh.quadratic_gain.FEATURES``."""
    inputs = twin.inputs(pairs)
    found = np.empty((len(pairs), len(FEATURES)))
    found[:, : len(CUES)] = inputs.cues.numpy()
    found[:, len(CUES)] = inputs.reliability(twin.calibration.estimator).numpy()
    found[:, -1] = twin.inconsistency(pairs, task=task)
    return found


@torch.no_grad()
def gains(twin: Twin, pairs: Pairs, task: Task) -> Floats:
    """[P] NDCG@10 of the answer from a fresh snapshot minus that from the held one."""
    fresh = Pairs(pairs.fresh, pairs.fresh)
    now, held = (twin.trusted(twin.inputs(each))[0] for each in (fresh, pairs))
    (best,), (old,) = twin.ranks(fresh, now, task=task), twin.ranks(pairs, held)
    return ndcg(best, CUTOFF) - ndcg(old, CUTOFF)
