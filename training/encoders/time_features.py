"""What encoders read from times: hours as circles, ages as curves, events against requests.

Shapes: B batch, L events, d dim, F pair features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

HOURS_PER_WEEK = 168.0
WEEKEND_STARTS = 120.0  # Monday 00:00 is hour 0
AGE_KNOTS_H = (0.5, 2.0, 6.0, 14.0, 30.0, 80.0, 200.0, 700.0)  # where an age curve may bend
DAY_HARMONICS = (1, 2, 3, 4)
WEEK_HARMONICS = (1, 2, 3)
SMALLEST_BUMP = -80.0  # its logarithm
_HOUR_FEATURES = 2 * (len(DAY_HARMONICS) + len(WEEK_HARMONICS)) + 1
_AGE_FEATURES = 1 + len(AGE_KNOTS_H)


class MomentContext(nn.Module):
    """What a state knows of its event's hour, the next request's hour and the time between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.event = nn.Linear(_HOUR_FEATURES, dim, bias=False)
        self.query = nn.Linear(_HOUR_FEATURES, dim, bias=False)
        self.gap = nn.Linear(_AGE_FEATURES, dim)

    def forward(self, event_hour: Tensor, query_hour: Tensor, gap_h: Tensor) -> Tensor:
        """[B, L] each -> [B, L, d]."""
        hours = self.event(hour_features(event_hour)) + self.query(hour_features(query_hour))
        context: Tensor = hours + self.gap(age_features(gap_h))
        return context


class PairFeatures(nn.Module):
    """How a past event relates to a request in time: age and agreement of hour and weekday."""

    def __init__(self, has_time: bool) -> None:
        super().__init__()
        self.has_time = has_time
        # Without times one constant feature keeps every shape; the event distance still speaks.
        self.size = _AGE_FEATURES + len(DAY_HARMONICS) + len(WEEK_HARMONICS) + 2 if has_time else 1

    def forward(
        self, age_h: Tensor, event_hour: Tensor, query_age_h: Tensor, query_hour: Tensor
    ) -> Tensor:
        """Event and query side of every pair, of shapes that broadcast to [...] -> [F, ...]."""
        # Negative where the event lies after the query; masked later, clamped here to stay finite.
        age = (age_h - query_age_h).clamp(min=0.0)
        if not self.has_time:
            return torch.ones_like(age)[None]
        turn = (event_hour - query_hour) * (2 * math.pi / HOURS_PER_WEEK)
        circles = [torch.cos(7 * k * turn) for k in DAY_HARMONICS]
        circles += [torch.cos(k * turn) for k in WEEK_HARMONICS]
        # A bump about 1.5 h wide: exp(700 (cos - 1)), without the rounding of a cosine near 1.
        same_hour = torch.exp(-1400.0 * torch.sin(turn / 2).square())
        same_kind = (event_hour >= WEEKEND_STARTS) == (query_hour >= WEEKEND_STARTS)
        return torch.stack([*_age_curve(age), *circles, same_hour, same_kind.to(age.dtype)])

    @torch.no_grad()
    def packed(
        self, age_h: Tensor, event_hour: Tensor, query_age_h: Tensor, query_hour: Tensor
    ) -> Tensor:
        """As `forward`, of four tensors of one shape, for training: no graph to export.

        Each feature is written where it stays; a bump that would be subnormal, which processors
        compute with slowly, ends at e^-80.
        """
        age = (age_h - query_age_h).clamp_(min=0.0)
        if not self.has_time:
            return torch.ones_like(age)[None]
        features = age.new_empty(self.size, *age.shape)
        log_age, *rest = features.unbind()
        torch.log1p(age, out=log_age)
        row = iter(rest)
        for knot in AGE_KNOTS_H:
            torch.sub(log_age, math.log1p(knot), out=next(row)).relu_()
        turn = (event_hour - query_hour).mul_(2 * math.pi / HOURS_PER_WEEK)
        for times in (*(7 * k for k in DAY_HARMONICS), *WEEK_HARMONICS):
            torch.mul(turn, times, out=next(row)).cos_()
        bump = torch.div(turn, 2, out=next(row)).sin_().square_()
        bump.mul_(-1400.0).clamp_(min=SMALLEST_BUMP).exp_()
        weekend = event_hour >= WEEKEND_STARTS
        next(row).copy_(weekend == (query_hour >= WEEKEND_STARTS))
        return features


def hour_features(hour: Tensor) -> Tensor:
    """[...] hour of week -> [..., 15]: circular day and week harmonics and a weekend flag."""
    turn = hour * (2 * math.pi / HOURS_PER_WEEK)
    angles = [7 * k * turn for k in DAY_HARMONICS] + [k * turn for k in WEEK_HARMONICS]
    waves = [wave for a in angles for wave in (torch.cos(a), torch.sin(a))]
    return torch.stack([*waves, (hour >= WEEKEND_STARTS).to(hour.dtype)], -1)


def age_features(age_h: Tensor) -> Tensor:
    """[...] hours >= 0 -> [..., 9]: log age and its bends, so that a linear map is a curve."""
    return torch.stack(_age_curve(age_h), -1)


def _age_curve(age_h: Tensor) -> list[Tensor]:
    log_age = torch.log1p(age_h)
    return [log_age, *(torch.relu(log_age - math.log1p(knot)) for knot in AGE_KNOTS_H)]
