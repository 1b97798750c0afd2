"""A log's committed gates record as the report of a run shows it."""

from __future__ import annotations

from pathlib import Path

from experiments import spec
from experiments.gates import Check, judge, meets
from experiments.record import Figure, Record, read_record
from experiments.selection import MEAN_GAP, Place, read_key
from experiments.spec import Experiment
from reports.experiments.tables import place_words, scored_steps
from reports.page.gates import (
    DeviceGates,
    Evidence,
    GapScore,
    GateRecord,
    GateVerdict,
    Payoff,
)
from shared.errors import DataError
from shared.statistics import Estimate

EXPERIMENT = "gates"
SETTINGS = ("S1", "S2")
_SCORERS = {"calibrated": "calibrated", "stale": "uncalibrated", "structure": "structure"}
_PLACES = {
    "full": "whole catalogue",
    "S2_history": "S2 with the own history",
    "S2_local": "S2 with local re-retrieval",
}
_NOTHING = Figure(None, None, None, 0)


def read_gates(path: Path, log: str, command: str) -> GateRecord:
    """Read and judge the record of a log.

    Args:
        command: what makes the record anew.

    Raises:
        DataError: the file is no record, that of something else, or its figures make no sense;
            says what and where.
    """
    record = read_record(path)
    if (record.experiment, record.log) != (EXPERIMENT, log):
        raise DataError(
            f"the record of {record.experiment} on {record.log}, not of {EXPERIMENT} on {log}", path
        )
    if not record.profiles:
        raise DataError("a record without any finished cell", path)
    try:
        return gate_record(spec.load(EXPERIMENT), record, command)
    except ValueError as error:  # of a key with too few or too many dimensions
        raise DataError(f"a figure is filed under what is no place: {error}", path) from error


def gate_record(experiment: Experiment, record: Record, command: str) -> GateRecord:
    """All that the report shows of a record, judged by the experiment's gates."""
    steps = scored_steps(record.settings)
    return GateRecord(
        log=record.log,
        description=record.description,
        command=command,
        repeat_policy=record.repeat_policy,
        planned=record.planned,
        draws=record.draws,
        steps=steps,
        text_model=str(record.settings.get("embedder", {}).get("model", "")),
        devices=tuple(_device(experiment, record, profile) for profile in record.profiles),
    )


def _device(experiment: Experiment, record: Record, profile: str) -> DeviceGates:
    verdicts = tuple(
        GateVerdict(
            gate=name,
            title=experiment.gates[name].title,
            status=verdict.status,
            evidence=tuple(
                _evidence(experiment, check, key, figure)
                for check, (key, figure) in zip(
                    experiment.gates[name].checks, verdict.evidence, strict=True
                )
            )
            if verdict.evidence
            else (),
            reason=verdict.reason,
        )
        for name, verdict in judge(experiment.gates, record, profile).items()
    )
    variant = next(iter(experiment.variants))
    return DeviceGates(
        profile=profile,
        seeds=record.seeds(profile),
        verdicts=verdicts,
        payoffs=_payoffs(record, profile, variant),
        scores=_scores(record, profile, variant),
    )


def _evidence(experiment: Experiment, check: Check, key: str, figure: Figure) -> Evidence:
    at = read_key(key)
    place = at | {"setting": _PLACES.get(at["setting"], at["setting"])}
    return Evidence(
        what=experiment.label(at["name"]),
        where=place_words(place),
        estimate=_estimate(figure),
        met=meets(check, figure),
        share=at["name"] in experiment.ratios,
        relative=None if figure.relative is None else figure.relative[0],
        against=figure.against or "",
    )


def _payoffs(record: Record, profile: str, variant: str) -> tuple[Payoff, ...]:
    """At every gap; at gap 0 there is no loss to speak of."""
    named = record.ratios | record.differences
    payoffs = []
    for setting, gap in dict.fromkeys(
        (score.setting, score.gap) for score in _scores(record, profile, variant)
    ):
        place = Place(profile=profile, variant=variant, setting=setting, gap=str(gap))
        payoffs.append(
            Payoff(
                setting=setting,
                gap=gap,
                loss=_estimate(named.get(place.key("staleness"))).negated(),
                bought_back=_estimate(named.get(place.key("calibration"))),
                recovered=_estimate(named.get(place.key("recovered"))),
                over_structure=_estimate(named.get(place.key("calibrated-over-structure"))),
            )
        )
    return tuple(payoffs)


def _scores(record: Record, profile: str, variant: str) -> tuple[GapScore, ...]:
    scores = []
    for key, figure in record.estimates.items():
        at = read_key(key)
        if at["name"] not in _SCORERS or at["setting"] not in SETTINGS or at["gap"] == MEAN_GAP:
            continue
        place = Place(
            profile=profile, variant=variant, setting=at["setting"], gap=at["gap"]
        )  # of all events, last steps, NDCG@10
        if key == place.key(at["name"]):
            scores.append(
                GapScore(
                    setting=at["setting"],
                    gap=int(at["gap"]),
                    scorer=_SCORERS[at["name"]],
                    estimate=_estimate(figure),
                )
            )
    return tuple(sorted(scores, key=lambda score: (score.setting, score.gap)))


def _estimate(figure: Figure | None) -> Estimate:
    value, low, high, steps = (figure or _NOTHING)[:4]
    return Estimate(value=value, low=low, high=high, count=steps)
