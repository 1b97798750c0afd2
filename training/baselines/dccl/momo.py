"""MoMoDistill: the shared model learns from the answers of all personal ones.

Yao et al., arXiv 2104.06624. With p_u the answer of user u's patched model, per training event,

    L = -log p(next item) + share * KL(p_u || p).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.backbone.batches import Windows
from training.backbone.distil import answers, divergence
from training.backbone.item_table import ItemParameters
from training.backbone.objective import Objective, RepeatPolicy
from training.baselines.dccl.fitted import USERS, FittedDCCL
from training.baselines.frozen_answers import FrozenAnswers, rows_and_items
from training.encoders.base import Encoder


@torch.no_grad()
def personal_states(personal: FittedDCCL, base: FrozenAnswers) -> Tensor:
    """[n, d] patched states before every event of ``base``, each user's code of the last ones."""
    start, size = base.events.user_start, np.diff(base.events.user_start)
    able = np.flatnonzero(size > 2)
    found = base.e_str.clone()
    for users in np.array_split(able, max(1, -(-len(able) // USERS))):
        last = start[users + 1] - 1
        z = personal.descent.codes(personal.basis, base, last, personal.policy)
        for code, first, stop in zip(z, start[users], start[users + 1], strict=True):
            states = base.e_str[first:stop].double().numpy()[None]
            moved = personal.basis.moved(code[None], states)[0]
            found[first:stop] = torch.from_numpy(moved).float()
    return found


def momo(base: FrozenAnswers, states: Tensor, policy: RepeatPolicy, share: float) -> Objective:
    """Cross-entropy beside the distance from the personal models, of windows of event rows.

    Args:
        states: [n, d] of the personal models before the events of ``base``.
    """

    def losses(model: Encoder, table: ItemParameters, windows: Windows) -> Tensor:
        named, following = rows_and_items(base.events, windows)
        log_p, target = answers(model, table, named, policy)
        # Those that ``answers`` keeps, in its order.
        kept = named.wanted & ~repeated(named) if policy == "exclude" else named.wanted
        rows = following[kept]
        with torch.no_grad():
            vectors = base.table.vectors.detach()
            said = torch.addmm(base.offsets(rows, policy), states[rows], vectors.T)
            log_q = said.masked_fill(log_p.isneginf(), -torch.inf).log_softmax(1)
        label = -log_p.gather(1, target[:, None])[:, 0]
        return label + share * divergence(log_q, log_p)

    return losses


def repeated(windows: Windows) -> Tensor:
    """[R, W] whether the next item is one of the row's own past."""
    width = windows.item.shape[1]
    past = torch.ones(width, width, dtype=torch.bool).tril()
    return ((windows.item[:, None, :] == windows.next_item[:, :, None]) & past).any(-1)
