"""How the claims of an experiment came out, place by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from experiments import frontiers
from experiments.answer import Claim
from experiments.gates import judge
from experiments.record import Extra, Figure, Record
from experiments.selection import Place
from experiments.spec import Experiment
from reports.markdown import scalar, share, signed
from reports.text import MARKDOWN, percent
from reports.text import signed as size
from shared.statistics import Estimate

Side = Literal["above", "below", "neither", "value"]


class Spot(NamedTuple):
    """Where a claim is decided; ``variant`` is "" where there is one alone, or it is about none."""

    log: str
    profile: str
    variant: str


@dataclass(frozen=True)
class ClaimOutcome:
    """What became of a claim at one spot.

    Attributes:
        side: "above" where a difference is significantly above zero or a gate holds, "below" where
            it lies below or the gate fails; "value" of what has no sides.
        short: the figure in a sentence; "" where the words say all.
        cell: the figure in a table, with its interval.
        figure: to draw; of an extra, its mean and deviation over the seeds. None for a gate.
    """

    spot: Spot
    side: Side
    cell: str
    short: str = ""
    figure: Estimate | None = None


def outcomes(claim: Claim, experiment: Experiment, records: Sequence[Record]) -> list[ClaimOutcome]:
    """One for each place that has the claim's figure, in the order of the records."""
    return [found for record in records for found in _of_record(claim, experiment, record)]


def _of_record(claim: Claim, experiment: Experiment, record: Record) -> Iterator[ClaimOutcome]:
    for profile in record.profiles:
        if claim.show == "gate":
            yield from _gate(claim, experiment, record, profile)
            continue
        for variant in claim.variants or experiment.variants:
            spot = Spot(record.log, profile, variant if len(experiment.variants) > 1 else "")
            if claim.show == "extra":
                extra = record.extras.get(f"{profile}/{variant}", {}).get(claim.of)
                if extra is not None:
                    yield ClaimOutcome(
                        spot,
                        "value",
                        cell=scalar(extra),
                        short=_told(extra),
                        figure=_deviation(extra),
                    )
                continue
            figure = _figure(claim, record, profile, variant)
            if figure is None or figure.value is None:
                continue
            if claim.show == "ratio":
                short = percent(figure.value, style=MARKDOWN)
                yield ClaimOutcome(spot, "value", cell=share(figure), short=short, figure=figure)
            else:
                yield _signed(spot, figure)


def _gate(
    claim: Claim, experiment: Experiment, record: Record, profile: str
) -> Iterator[ClaimOutcome]:
    status = judge(experiment.gates, record, profile)[claim.of].status
    if status == "holds":
        yield ClaimOutcome(Spot(record.log, profile, ""), "above", cell=f"**{status}**")
    elif status == "fails":
        yield ClaimOutcome(Spot(record.log, profile, ""), "below", cell=status)


def _figure(claim: Claim, record: Record, profile: str, variant: str) -> Figure | None:
    if claim.show == "frontier":
        key = frontiers.key(profile, variant, claim.of, claim.scorer, claim.quantity)
        return record.frontiers.get(key)
    place = Place(
        profile=profile,
        variant=variant,
        setting=claim.setting,
        gap=claim.gap,
        part=claim.part,
        steps=claim.steps,
        metric=claim.metric,
    )
    figures = record.ratios if claim.show == "ratio" else record.differences
    return figures.get(place.key(claim.of))


def _signed(spot: Spot, figure: Figure) -> ClaimOutcome:
    if figure.sign == 0:
        return ClaimOutcome(spot, "neither", cell=signed(figure), figure=figure)
    if figure.relative is None:
        short = size(figure.value, style=MARKDOWN)
    else:
        short = percent(figure.relative[0], 1, sign=True, style=MARKDOWN)
    side: Side = "above" if figure.sign > 0 else "below"
    return ClaimOutcome(spot, side, cell=signed(figure), short=short, figure=figure)


def _told(extra: Extra) -> str:
    """The mean as people say it: no exponent."""
    large = abs(extra.mean)
    digits = 0 if large >= 100 else 5 if 0 < large < 0.0005 else 3
    return f"{extra.mean:,.{digits}f}"


def _deviation(extra: Extra) -> Estimate:
    spread = extra.spread or 0.0
    return Estimate(
        value=extra.mean, low=extra.mean - spread, high=extra.mean + spread, count=extra.seeds
    )


def head(claim: Claim, experiment: Experiment) -> str:
    """Of the claim's column: its own, or what is compared and where."""
    if claim.head is not None:
        return claim.head
    return f"{experiment.label(claim.of)} ({claim.setting}, gap {claim.gap})"
