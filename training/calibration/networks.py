"""Estimator and calibrator of SCaLRec (arXiv 2601.22543), equations 10 to 21, in torch.

Shapes: B pairs, C candidates, d dim, K cues. ``valid`` [B, C] marks real candidates: sets differ
in size, and a candidate outside its set has no probability and adds nothing to a divergence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

N_CUES = 8
EPS = 1e-8
HIDDEN = 64
# What the proposal is made from: eq. 12's own inputs, and with what happened since the snapshot.
PAPER_INPUTS = ("e_sem", "e_str")
CONTEXT_INPUTS = ("e_sem", "e_str", "e_str_tau", "recent", "cues")
WORDS_INPUT = "e_text"  # e_text(t), where devices have a text student
CUE_INPUTS = ("cues",)
WORDS_CUE_INPUTS = ("cues", "e_sem", WORDS_INPUT)
OPEN_GATE = 3.0  # sigmoid(3) = .95: an untrained gate leaves the cached embedding nearly whole


class Estimator(nn.Module):
    """q_psi of eq. 11: raw cues [B, 8] -> reliability r [B] in (0, 1); 2-layer MLP, ReLU.

    Cues are standardised inside the graph with the training pairs' means and deviations.

    With ``words`` there is a ninth cue, made inside the graph: the cosine of e_sem(tau) and
    e_text(t). A device's words are always of now, so where they point elsewhere the snapshot is
    old in substance, however few events ago it was made.

    Args:
        fixed: answer this r whatever the cues say (the ablation without an estimator).
        words: read the ninth cue; ``inputs`` then name what it is made of.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        hidden: int = HIDDEN,
        dropout: float = 0.2,
        fixed: float | None = None,
        *,
        words: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = WORDS_CUE_INPUTS if words else CUE_INPUTS
        size = N_CUES + words
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        last = nn.Linear(hidden, 1)
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(dropout), last)
        if fixed is not None:
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, math.log(fixed / (1.0 - fixed)))
            self.requires_grad_(False)

    def fit_normaliser(self, *parts: Tensor, ignored: Sequence[int] = ()) -> None:
        """Take means and deviations of all cues of n pairs; a constant cue is only centred.

        Args:
            parts: [n, 8] cues, and [n, d] each of the other ``inputs``.
            ignored: places of cues that are not to be looked at (ablations).
        """
        read = self._read(*parts)
        self.mean.copy_(read.mean(0))
        self.scale.copy_(_inverse_deviation(read))
        for place in ignored:
            self.scale[place] = 0.0

    def forward(
        self, cues: Tensor, e_sem: Tensor | None = None, e_text: Tensor | None = None
    ) -> Tensor:
        """r [B] from those of ``inputs``: cues [B, 8], the others [B, d]."""
        logit: Tensor = self.mlp((self._read(cues, e_sem, e_text) - self.mean) * self.scale)
        return torch.sigmoid(logit[:, 0])

    def _read(
        self, cues: Tensor, e_sem: Tensor | None = None, e_text: Tensor | None = None
    ) -> Tensor:
        """[B, 8], or [B, 9] with the cosine of both embeddings; 0 where one of them has no length.

        Lengths are floored rather than added to, so that every length that occurs counts in full.
        """
        if e_sem is None or e_text is None:
            return cues
        lengths = (v.square().sum(-1, keepdim=True).clamp(min=EPS).sqrt() for v in (e_sem, e_text))
        cosine = (e_sem * e_text).sum(-1, keepdim=True)
        for length in lengths:
            cosine = cosine / length
        return torch.cat([cues, cosine], -1)


class Calibrator(nn.Module):
    """g_phi of eq. 12: what is known of the request and the snapshot -> proposal v [B, d].

    A 2-layer MLP with ReLU over the concatenated ``inputs``. With ``PAPER_INPUTS`` and without a
    gate it is the paper's. ``CONTEXT_INPUTS`` add what only the device knows about the time since:
    e_str(tau), the mean vector of the items met since tau, the cues, and what the text student
    makes of the device's own words.

    A gate kappa in (0, 1) from the same inputs takes back (1 - kappa) of the cached embedding:
    v = u - (1 - kappa) e_sem. One proposal can then also discount the semantic channel, which is
    what a correction cannot do with a weight that is fixed; the bound of eq. 13 holds for both.

    Args:
        inputs: names of the parts, e_sem first.
        gate: whether kappa exists. residual: whether u does.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int,
        inputs: Sequence[str] = PAPER_INPUTS,
        *,
        gate: bool = False,
        residual: bool = True,
        hidden: int = 2 * HIDDEN,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not (gate or residual):
            raise ValueError("a calibrator without a gate and without a residual does nothing")
        self.inputs = tuple(inputs)
        size = sum(N_CUES if name == "cues" else dim for name in self.inputs)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.body = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.residual = nn.Linear(hidden, dim) if residual else None
        self.gate = nn.Linear(hidden, 1) if gate else None
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, OPEN_GATE)
            if self.residual is not None:  # beside a gate start from the cached embedding itself
                nn.init.zeros_(self.residual.weight)
                nn.init.zeros_(self.residual.bias)

    def fit_normaliser(self, parts: Sequence[Tensor]) -> None:
        """One mean per coordinate and one length per part, so that none drowns the others.

        Args:
            parts: [n, d] each ([n, 8] cues, which get a deviation each), in the order of inputs.
        """
        scales = []
        for name, part in zip(self.inputs, parts, strict=True):
            if name == "cues":
                scales.append(_inverse_deviation(part))
            else:
                spread = part.var(0, correction=0).mean().sqrt().clamp(min=1e-6)
                scales.append((1.0 / spread).expand(part.shape[1]))
        self.mean.copy_(torch.cat([part.mean(0) for part in parts]))
        self.scale.copy_(torch.cat(scales))

    def forward(
        self,
        e_sem: Tensor,
        e_str: Tensor,
        e_str_tau: Tensor | None = None,
        recent: Tensor | None = None,
        cues: Tensor | None = None,
        e_text: Tensor | None = None,
    ) -> Tensor:
        """v [B, d] from those of ``inputs``: [B, d] each, cues [B, 8]."""
        parts = [p for p in (e_sem, e_str, e_str_tau, recent, cues, e_text) if p is not None]
        state = self.body((torch.cat(parts, -1) - self.mean) * self.scale)
        v = torch.zeros_like(e_sem) if self.residual is None else self.residual(state)
        if self.gate is not None:
            v = v - (1.0 - torch.sigmoid(self.gate(state))) * e_sem
        return v


def correction(v: Tensor, alpha: Tensor, gamma_max: float) -> Tensor:
    """Eq. 13: de = lam v, lam = min(1, gamma_max alpha / (|v| + eps)); [B, d], alpha [B] -> [B, d].

    |de| <= gamma_max * alpha, and de = 0 where alpha = 0.
    """
    length = v.square().sum(-1, keepdim=True).add(EPS * EPS).sqrt()
    lam = (gamma_max * alpha[:, None] / (length + EPS)).clamp(max=1.0)
    return lam * v


def log_distribution(scores: Tensor, temperature: float, valid: Tensor) -> Tensor:
    """Eq. 16: log softmax(scores / T) [B, C] over the valid candidates, -inf elsewhere."""
    return (scores / temperature).masked_fill(~valid, -torch.inf).log_softmax(-1)


def kl_divergence(log_p: Tensor, log_q: Tensor, valid: Tensor) -> Tensor:
    """KL(p || q) [B] over the valid candidates (eq. 17; first term of eq. 21)."""
    # Both are -inf outside, and inf - inf has no gradient: replace before subtracting.
    p, q = log_p.masked_fill(~valid, 0.0), log_q.masked_fill(~valid, 0.0)
    return (p.exp() * (p - q)).masked_fill(~valid, 0.0).sum(-1)


def reliability_target(log_teacher: Tensor, log_stale: Tensor, valid: Tensor) -> Tensor:
    """Eqs. 17-18: r* = exp(-D), D = KL(teacher || stale) >= 0; in (0, 1]."""
    divergence = kl_divergence(log_teacher, log_stale, valid)
    return torch.exp(-divergence.clamp(min=0.0))  # rounding may leave D slightly below zero


def spread_target(r_target: Tensor, reference: Tensor) -> Tensor:
    """r* by its place among the training pairs' (quantile), so that r uses its whole range.

    exp(-D) crowds near 1 where staleness moves few probabilities, and alpha = 1 - r then allows no
    correction at all. The order of pairs is kept, and D = 0 stays at r* = 1.

    Args:
        r_target: [B] from ``reliability_target``.
        reference: [n] sorted r* of stale training pairs.
    """
    place = torch.searchsorted(reference, r_target.contiguous(), right=True)
    spread = place.to(r_target.dtype) / max(1, len(reference))
    return torch.where(r_target >= 1.0 - 1e-6, torch.ones_like(spread), spread)


def joint_loss(
    log_teacher: Tensor,
    log_corrected: Tensor,
    valid: Tensor,
    r: Tensor,
    r_target: Tensor,
    v: Tensor,
    *,
    lambda_rel: float,
    lambda_reg: float,
    teacher_weight: Tensor | float = 1.0,
) -> Tensor:
    """Eq. 21 with eq. 19: mean of KL(p || p^) + lambda_rel (r - r*)^2 + lambda_reg |v|^2.

    ``teacher_weight`` [B] is a factor on the first term.

    ``log_corrected`` is p^, from the corrected scores of eq. 20. It depends on r through the
    radius of eq. 13, so the distillation term trains the estimator too.
    """
    distillation = teacher_weight * kl_divergence(log_teacher, log_corrected, valid)
    reliability = (r - r_target).square()
    size = v.square().sum(-1)
    return (distillation + lambda_rel * reliability + lambda_reg * size).mean()


def _inverse_deviation(columns: Tensor) -> Tensor:
    """1 / standard deviation per column [n, k] -> [k]; 1 for a constant one."""
    deviation = columns.std(0, correction=0)
    return torch.where(deviation > 1e-6, 1.0 / deviation.clamp(min=1e-6), 1.0)
