"""What a run was, as MLflow keeps it: parameters, tags and a description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from loadtest.replay.run_info import RunInfo
from reports.page import verdict
from reports.page.spoken import spoken
from reports.summary.model import Summary
from shared.addresses import STARS

# What servers take that are older than the client.
KEY_CHARS, VALUE_CHARS, TAG_CHARS = 250, 500, 5000
RUN_ID, STARTED = "scalrec.run_id", "scalrec.started"
_EDITED = "+changes"  # of a revision with uncommitted changes


def params_of(info: RunInfo) -> dict[str, str]:
    """The run's settings, ``section.name`` to text, in the order of the settings.

    Those that were not set are left out, and so are secrets. Values longer than MLflow takes end in
    three dots; run.json has them whole.
    """
    return {
        name[:KEY_CHARS]: shortened(value, VALUE_CHARS)
        for name, value in _flat("", info.settings)
        if STARS not in value
    }


def tags_of(run_id: str, info: RunInfo) -> dict[str, str]:
    """What one looks runs up by; the first two tell a run from all others.

    Args:
        run_id: the name of the run's folder.
    """
    tags = {
        RUN_ID: run_id,
        STARTED: info.started,
        "scalrec.version": _version(),
        "scalrec.dataset": info.log.get("log", ""),
        "scalrec.split": info.split,
        "scalrec.profile": info.profile.name,
        "scalrec.bundle_id": info.bundle_id,
        "scalrec.backbone": info.backbone,
        "scalrec.embedder": f"{info.embedder.backend}: {info.embedder.model}",
        "scalrec.machine": info.machine,
        "mlflow.source.name": "scalrec",  # MLflow's page shows a commit beside a source alone
        "mlflow.source.type": "LOCAL",
    }
    if info.git_revision is not None:
        tags["scalrec.commit"] = info.git_revision
        tags["mlflow.source.git.commit"] = info.git_revision.removesuffix(_EDITED)
    return {name: shortened(value, TAG_CHARS) for name, value in tags.items() if value}


def description_of(summary: Summary) -> str:
    """The result in the report's own sentences, and what went beside the plan; Markdown."""
    told = [] if (said := spoken(summary)) is None else [f"**{said}**"]
    told += verdict.sentences(summary)
    told += [f"*Failed:* {failure}" for failure in summary.run.run_failures]
    told += [f"*Note:* {note}" for note in summary.run.run_notes]
    return shortened("\n\n".join(told), TAG_CHARS)


def times_of(info: RunInfo) -> tuple[int, int]:
    """When the run began and ended, in ms since 1970, with its stages one after another."""
    began = datetime.fromisoformat(info.started).timestamp()
    took = sum(stage.seconds for stage in info.stages)
    return round(1000 * began), round(1000 * (began + took))


def shortened(text: str, chars: int) -> str:
    """``text`` in no more than ``chars`` characters."""
    return text if len(text) <= chars else f"{text[: chars - 3]}..."


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, told in value.items():
            yield from _flat(f"{name}.{inner}" if name else inner, told)
    elif isinstance(value, str):
        if value:
            yield name, value
    elif value is not None:
        yield name, json.dumps(value)


def _version() -> str:
    try:
        return version("scalrec")
    except PackageNotFoundError:  # a copy of the sources
        return ""
