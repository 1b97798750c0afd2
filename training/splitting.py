"""The split that the settings of training ask for, and what of a log is known at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.split import MIN_HISTORY, Split, split_log, split_log_at
from training.cut_log import events_before
from training.data.private import common_categories
from training.data.registry import repeat_policy
from training.settings import Recipe, TrainingSettings

SEEN_LATER = (
    "the split is per user: each user is cut at a time of their own, so the model has seen later "
    "events of other users"
)


def split_of(log: InteractionLog, options: TrainingSettings, *, calibration: bool = False) -> Split:
    """As ``training.split`` says: each user's last steps held out, or all that follows an instant.

    Args:
        calibration: also keep the calibration block from the backbone.

    Raises:
        ConfigError: ``training.split=global`` and a log without times, or with nothing on one side
            of ``training.split_at``.
    """
    block = calibration and options.calibration_block == "steps"
    calibration_steps = options.calibration_steps if block else 0
    if options.split == "user":
        return split_log(
            log,
            test_steps=options.test_steps,
            validation_steps=options.validation_steps,
            calibration_steps=calibration_steps,
        )
    split = split_log_at(
        log,
        instant_of(log, options),
        test_steps=options.test_steps,
        validation_steps=options.validation_steps,
        calibration_steps=calibration_steps,
    )
    if len(split.tested()) == 0:
        raise ConfigError(
            f"training.split_at={options.split_at} leaves nobody to test: no user of log "
            f"{log.name!r} has {MIN_HISTORY} events and then one from that instant on; set an "
            "earlier one, or training.split=user"
        )
    return split


def instant_of(log: InteractionLog, options: TrainingSettings) -> float:
    """Unix seconds of the first moment that is not trained on, under ``training.split=global``.

    A date is its midnight, UTC. A share is the time of the event that so many of all events come
    before; those that share its time come after the cut.

    Raises:
        ConfigError: as ``split_of``.
    """
    if log.time is None:
        raise ConfigError(
            f"training.split=global cuts everybody at one instant, and log {log.name!r} has no "
            "times: set training.split=user, or name the column that holds its times (--columns)"
        )
    at = options.split_at
    if isinstance(at, date):
        instant = datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp()
    else:
        instant = float(np.partition(log.time, place := int(at * len(log)))[place])
    first, last = float(log.time.min()), float(log.time.max())
    if not first < instant <= last:
        begins, ends = (f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M}" for t in (first, last))
        raise ConfigError(
            f"training.split_at={at} leaves no event of log {log.name!r} "
            f"{'after' if instant > last else 'before'} it, which runs from {begins} to {ends}, "
            "UTC: set a date or a share between"
        )
    return instant


def known_items(
    log: InteractionLog, split: Split, options: TrainingSettings
) -> NDArray[np.int64] | None:
    """[K] items, ascending, that somebody met before the instant of a global split.

    None by user: there training knows the whole catalogue.
    """
    if options.split == "user":
        return None
    return np.unique(events_before(log, split.test_start).item).astype(np.int64)


def log_at_split(log: InteractionLog, split: Split, options: TrainingSettings) -> InteractionLog:
    """The log with a closed vocabulary that nothing later has chosen.

    Under a global split the categories that abstracts may say are counted over the events before
    the instant; by user over all, as loading did. No other word of the catalogue depends on events.
    """
    catalogue, items = log.catalogue, known_items(log, split, options)
    if items is None or catalogue.vocabulary is None:
        return log
    met = np.zeros(len(catalogue), dtype=np.bool_)
    met[items] = True
    told = zip(catalogue.categories, met.tolist(), strict=True)
    before = events_before(log, split.test_start)
    vocabulary = common_categories(
        replace(catalogue, categories=tuple(kinds if here else () for kinds, here in told)),
        before.user,
        before.item,
    )
    return replace(log, catalogue=replace(catalogue, vocabulary=vocabulary))


def policy_of(settings: Recipe, log: InteractionLog) -> Literal["allow", "exclude"]:
    """``log.repeat_policy``, or by whether users return: before the instant of a global split."""
    if settings.training.split == "user":
        return repeat_policy(settings.log, log)
    split = split_of(log, settings.training)
    return repeat_policy(settings.log, events_before(log, split.test_start))


def split_note(log: InteractionLog, options: TrainingSettings) -> str:
    """What people should know of how the log was split; "" where there is nothing to know."""
    if options.split == "global":
        return ""
    if log.time is None:
        return SEEN_LATER
    return f"{SEEN_LATER}; training.split=global cuts everybody at one instant"
