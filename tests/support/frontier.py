"""A small log and settings of the frontier."""

from __future__ import annotations

from pathlib import Path

from scalrec.settings import Settings, load_settings
from tests.support.logs import drifting_log

USERS, STEPS = 10, 12
LOG = drifting_log(users=16, events=40)


def settings_for(folder: Path, **frontier: object) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 8, "local_candidates": 0},
        embedder={"backend": "hashing", "model": "hashing-32", "batch_size": 16},
        cloud={"candidates": 10},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 1, "test_steps": STEPS,
            "validation_steps": 2, "calibration_steps": 3, "abstracts_per_user": 6,
            "semantic_epochs": 2, "calibration_epochs": 2, "top_l": 5, "threads": 1,
        },
        frontier={"steps": STEPS, "users": USERS, "history": 10, "budgets": (0.1, 0.5, 1.0)}
        | frontier,
    )  # fmt: skip
