"""A log's committed gates record with its verdicts, as the report of a run reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments import spec
from experiments.gates import GateVerdict, judge
from experiments.record import Figure, Record, read_record
from experiments.selection import MEAN_GAP, Place, read_key
from experiments.spec import Experiment
from reports.page.verdict import HEADLINE_GAP
from shared.errors import DataError
from shared.statistics import Estimate, no_estimate

EXPERIMENT = "gates"
_SETTINGS = ("device", "S1", "S2")
# Scorers of the record, and their keys in a run's summary.
_SCORERS = {"calibrated": "calibrated", "stale": "uncalibrated"}
# The device's own score, and what is compared with it: the last that a record has. In older ones
# that was structure by itself.
_OWN = {"structure": "calibrated-over-structure", "student": "calibrated-over-own"}


@dataclass(frozen=True)
class JudgedRecord:
    """A record and the verdict on every gate, by profile.

    Attributes:
        command: what makes the record anew.
    """

    experiment: Experiment
    record: Record
    verdicts: Mapping[str, Mapping[str, GateVerdict]]
    command: str

    @staticmethod
    def of(experiment: Experiment, record: Record, command: str) -> JudgedRecord:
        """The record judged by the experiment's gates, for each of its profiles."""
        verdicts = {name: judge(experiment.gates, record, name) for name in record.profiles}
        return JudgedRecord(experiment, record, verdicts, command)

    def title(self, gate: str) -> str:
        return self.experiment.gates[gate].title

    def named(self, profile: str, setting: str, gap: int, name: str) -> Estimate:
        """A difference or ratio of NDCG@10 over all last steps; without a value if not there."""
        place = Place(
            profile=profile,
            variant=next(iter(self.experiment.variants)),
            setting=setting,
            gap=str(gap),
        )
        found = self.record.ratios | self.record.differences
        return found.get(place.key(name), no_estimate())

    def loss(self, profile: str, setting: str, gap: int) -> Estimate:
        """What staleness costs: positive where it costs something."""
        return self.named(profile, setting, gap, "staleness").negated()

    def over_own(self, profile: str, setting: str, gap: int) -> Estimate:
        """Calibrated over the device's own score on the same candidates."""
        return self.named(profile, setting, gap, _OWN[self._own])

    def scores(self, profile: str) -> list[tuple[str, int, str, Figure]]:
        """Setting, gap, scorer and its NDCG@10, by setting and gap."""
        return sorted(self._scores(profile), key=lambda score: score[:2])

    def gaps(self, profile: str) -> list[tuple[str, int]]:
        """Every setting and gap with a score, in order."""
        return list(dict.fromkeys(score[:2] for score in self.scores(profile)))

    def headline(self, profile: str) -> list[tuple[str, int]]:
        """Per setting the gap that stands for all: 5, else the smallest above 0."""
        chosen: dict[str, int] = {}
        for setting, gap in sorted(
            self.gaps(profile), key=lambda place: (place[1] != HEADLINE_GAP, place[1])
        ):
            if gap > 0:
                chosen.setdefault(setting, gap)
        return sorted(chosen.items())

    def _scores(self, profile: str) -> Iterator[tuple[str, int, str, Figure]]:
        variant = next(iter(self.experiment.variants))
        scorers = _SCORERS | {self._own: "structure"}
        for key, figure in self.record.estimates.items():
            at = read_key(key)
            if at["name"] not in scorers or at["setting"] not in _SETTINGS:
                continue
            setting, gap = at["setting"], at["gap"]
            place = Place(profile=profile, variant=variant, setting=setting, gap=gap)
            if gap != MEAN_GAP and key == place.key(at["name"]):
                yield setting, int(gap), scorers[at["name"]], figure

    @property
    def _own(self) -> str:
        """Which scorer of the record is the device's own score."""
        named = {read_key(key)["name"] for key in self.record.estimates}
        return [name for name in _OWN if name in named or name == "structure"][-1]


@dataclass(frozen=True)
class NoRecord:
    """Nothing to show for this log: what would make it, and why a record found was refused."""

    log: str
    command: str
    problem: str = ""


def read_judged(path: Path, log: str, command: str) -> JudgedRecord:
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
        for key in (*record.estimates, *record.differences, *record.ratios):
            read_key(key)
        return JudgedRecord.of(spec.load(EXPERIMENT), record, command)
    except ValueError as error:  # of a key with too few or too many dimensions
        raise DataError(f"a figure is filed under what is no place: {error}", path) from error
