"""What an advice trains with: the settings of the gates experiment, and less of all if quick."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from experiments import spec
from experiments.spec import Overrides, merge
from scalrec.settings import Settings
from shared.interactions import InteractionLog

AGES = (0, 1, 2, 5, 10, 20)
TESTED_SHARE = 3  # at most one in so many of a typical user's events is held out for testing
QUICK = {"epochs": 3, "restart_epochs": 1, "semantic_epochs": 6, "calibration_epochs": 8}
QUICK_USERS = 400

_Section = TypeVar("_Section", bound=BaseModel)


def defaults(log: InteractionLog, name: str) -> Overrides:
    """Settings by section, of the gates experiment for its logs and scaled to any other one.

    Args:
        name: of the log in the settings.
    """
    gates = spec.load("gates")
    base = merge(merge(gates.base, {"paper": {"gaps": AGES}}), gates.logs.get(name, {}))
    if name in gates.logs:
        return base
    return merge(base, _scaled(base, float(np.median(log.counts()))))


def filled(settings: Settings, sections: Overrides) -> Settings:
    """``settings`` with ``sections`` wherever file, environment and options left the default."""
    changed = {name: _filled(getattr(settings, name), own) for name, own in sections.items()}
    return settings.model_copy(update=changed)


def some_users(log: InteractionLog, count: int, seed: int) -> InteractionLog:
    """The log of ``count`` users drawn at random; the catalogue stays. All of them if so few."""
    if log.n_users <= count:
        return log
    chosen = np.sort(np.random.default_rng(seed).choice(log.n_users, count, replace=False))
    rows = np.flatnonzero(np.isin(log.user, chosen))
    return log.take(
        rows,
        user=np.searchsorted(chosen, log.user[rows]).astype(np.int32),
        user_ids=tuple(log.user_ids[user] for user in chosen),
        notes=(*log.notes, f"{count:,} of {log.n_users:,} users, drawn at random"),
    )


def _scaled(base: Overrides, events: float) -> Overrides:
    """Fewer steps held out where a typical user has few ``events``."""
    training = base["training"]
    share = min(1.0, events / TESTED_SHARE / training["test_steps"])
    names = ("test_steps", "validation_steps", "calibration_steps")
    steps = {name: max(1, int(share * training[name])) for name in names}
    return {"training": steps, "paper": {"steps": steps["test_steps"]}}


def _filled(section: _Section, own: dict[str, Any]) -> _Section:
    return type(section).model_validate(own | section.model_dump(exclude_unset=True))
