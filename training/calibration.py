"""Estimator and calibrator of SCaLRec (arXiv 2601.22543), equations 10 to 21, in torch.

Shapes: B pairs, C candidates, d dim, K cues. ``valid`` [B, C] marks real candidates: sets differ
in size, and a candidate outside its set has no probability and adds nothing to a divergence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_CUES = 5
EPS = 1e-8
HIDDEN = 64


class Estimator(nn.Module):
    """q_psi of eq. 11: raw cues [B, 5] -> reliability r [B] in (0, 1); 2-layer MLP, ReLU.

    Cues are standardised inside the graph with the training pairs' means and deviations.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, hidden: int = HIDDEN, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_CUES))
        self.register_buffer("scale", torch.ones(N_CUES))
        self.mlp = nn.Sequential(
            nn.Linear(N_CUES, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )

    def fit_normaliser(self, cues: Tensor) -> None:
        """Take means and deviations of ``cues`` [n, 5]; a constant cue is only centred."""
        deviation = cues.std(0, correction=0)
        self.mean.copy_(cues.mean(0))
        self.scale.copy_(torch.where(deviation > 1e-6, 1.0 / deviation.clamp(min=1e-6), 1.0))

    def forward(self, cues: Tensor) -> Tensor:
        logit: Tensor = self.mlp((cues - self.mean) * self.scale)
        return torch.sigmoid(logit[:, 0])


class Calibrator(nn.Module):
    """g_phi of eq. 12: [e_sem(tau); e_str(t)], [B, d] each -> proposal v [B, d]; 2-layer MLP."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, hidden: int = 2 * HIDDEN, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * dim))
        self.register_buffer("scale", torch.ones(2 * dim))
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def fit_normaliser(self, e_sem: Tensor, e_str: Tensor) -> None:
        """One mean per coordinate and one length per channel, so that neither drowns the other."""
        both = torch.cat([e_sem, e_str], -1)
        self.mean.copy_(both.mean(0))
        spread = (both - self.mean).square().mean(0)
        halves = [h.mean().sqrt().clamp(min=1e-6).expand_as(h) for h in spread.chunk(2)]
        self.scale.copy_(1.0 / torch.cat(halves))

    def forward(self, e_sem: Tensor, e_str: Tensor) -> Tensor:
        x = (torch.cat([e_sem, e_str], -1) - self.mean) * self.scale
        v: Tensor = self.mlp(x)
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
) -> Tensor:
    """Eq. 21 with eq. 19: mean of KL(p || p^) + lambda_rel (r - r*)^2 + lambda_reg |v|^2.

    ``log_corrected`` is p^, from the corrected scores of eq. 20. It depends on r through the
    radius of eq. 13, so the distillation term trains the estimator too.
    """
    distillation = kl_divergence(log_teacher, log_corrected, valid)
    reliability = (r - r_target).square()
    size = v.square().sum(-1)
    return (distillation + lambda_rel * reliability + lambda_reg * size).mean()
