"""A run as a run of MLflow: made once, completed by every later call."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.records.checksums import SUMS
from loadtest.replay.run_info import RUN_FILE
from reports.page.build import REPORT_FILE
from reports.summary.build import SUMMARY_FILE
from reports.summary.model import Summary
from reports.tracking.connection import Tracker, TrackingUnavailable, connected
from reports.tracking.facts import RUN_ID, STARTED, description_of, params_of, tags_of, times_of
from reports.tracking.figures import figures_of

EXPERIMENT = "scalrec"  # where MLFLOW_EXPERIMENT_NAME says nothing
# Records of requests stay: they are large, and say what single users asked for.
ARTIFACTS = (REPORT_FILE, SUMMARY_FILE, RUN_FILE, SUMS)
_DESCRIPTION = "mlflow.note.content"
_AT_ONCE = 100  # parameters, tags or metrics: what a server takes


@dataclass(frozen=True)
class TrackedRun:
    """Where a run lies in MLflow.

    Attributes:
        run_id: MLflow's. experiment: its name.
        store: the address, as it may be printed. page: the run's own, of a server; None of a file.
        made: whether it was not there before.
    """

    run_id: str
    experiment: str
    store: str
    page: str | None
    made: bool


def track_in_mlflow(
    run_dir: Path, summary: Summary, *, uri: str | None = None, experiment: str | None = None
) -> TrackedRun:
    """Write a reported run's parameters, metrics, tags and report into MLflow.

    A run is known by its folder's name and its start. Where the experiment has it, tags and files
    are replaced, metrics whose value changed get another, and parameters, which MLflow never
    changes, are added where they are missing. One that was deleted in MLflow is made anew.

    Args:
        summary: of ``run_dir``, which holds summary.json and report.html.
        uri: see ``connected``.
        experiment: its name, made if there is none; None: MLFLOW_EXPERIMENT_NAME, else "scalrec".

    Raises:
        ConfigError: MLflow is not installed, or does not know such a store.
        TrackingUnavailable: the store cannot be reached or refuses what it is asked.
    """
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    tags = tags_of(run_dir.resolve().name, summary.run)
    with connected(uri) as tracker:
        place = _experiment(tracker, name)
        found = _found(tracker, place, tags)
        run = found or tracker.client.create_run(
            place, start_time=times_of(summary.run)[0], tags=tags, run_name=tags[RUN_ID]
        )
        run_id = str(run.info.run_id)
        for batch in _news(tracker, run.data, summary, tags):
            tracker.client.log_batch(run_id, **batch)
        for file in ARTIFACTS:
            if (run_dir / file).exists():
                tracker.client.log_artifact(run_id, str(run_dir / file))
        status = "FAILED" if summary.run.run_failures else "FINISHED"
        tracker.client.set_terminated(run_id, status, end_time=times_of(summary.run)[1])
        return TrackedRun(
            run_id=run_id,
            experiment=name,
            store=tracker.shown,
            page=tracker.page_of(place, run_id),
            made=found is None,
        )


def _experiment(tracker: Tracker, name: str) -> str:
    """The experiment's id; it is made if there is none."""
    found = tracker.client.get_experiment_by_name(name)
    if found is None:
        made: str = tracker.client.create_experiment(name, artifact_location=tracker.artifacts)
        return made
    if found.lifecycle_stage != "active":
        raise TrackingUnavailable(
            f"the experiment {name} was deleted in MLflow at {tracker.shown}: restore it there, or "
            "name another one with --experiment"
        )
    return str(found.experiment_id)


def _found(tracker: Tracker, place: str, tags: dict[str, str]) -> Any | None:
    """The run of the same folder and start; asked for by its start, as names may hold quotes."""
    runs = tracker.client.search_runs([place], f"tags.`{STARTED}` = '{tags[STARTED]}'")
    return next((run for run in runs if run.data.tags.get(RUN_ID) == tags[RUN_ID]), None)


def _news(
    tracker: Tracker, had: Any, summary: Summary, tags: dict[str, str]
) -> Iterator[dict[str, list[Any]]]:
    """What MLflow does not have yet, in pieces that it takes; ``had``: a run's data."""
    now = round(1000 * time.time())
    made = tracker.entities
    told = tags | {_DESCRIPTION: description_of(summary)}
    figures = figures_of(summary).items()
    news: dict[str, list[Any]] = {
        "tags": [made.RunTag(*one) for one in told.items() if one[1]],
        "params": [
            made.Param(*one) for one in params_of(summary.run).items() if one[0] not in had.params
        ],
        "metrics": [
            made.Metric(name, value, now, step=0)
            for name, value in figures
            if had.metrics.get(name) != value
        ],
    }
    for kind, entries in news.items():
        for first in range(0, len(entries), _AT_ONCE):
            yield {kind: entries[first : first + _AT_ONCE]}
