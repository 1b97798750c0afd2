"""Whether a log is enough for a run, asked before anything is trained on it."""

from __future__ import annotations

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.split import MIN_HISTORY, split_log
from training.settings import Recipe


def require_enough(log: InteractionLog, settings: Recipe) -> list[str]:
    """Notes on a log whose figures will say little.

    Raises:
        DataError: nothing can be trained, or nothing tested, on it; names the setting to change.
    """
    options, path = settings.training, settings.log.path
    items, users = len(log.catalogue.ids), len(log.counts())
    if items < 2:
        raise DataError(
            "the log has one item only, so there is nothing to choose between: bring a log with "
            "more, or check which column is the item (log.columns)",
            path,
        )
    split = split_log(log, test_steps=options.test_steps, validation_steps=options.validation_steps)
    longest = int(log.counts().max(initial=0))
    tested = int((split.n_events > split.test_start).sum())
    if tested == 0:
        needed = MIN_HISTORY + options.validation_steps + 1
        raise DataError(
            f"no user has an event to test on: that takes {needed} events "
            f"(training.validation_steps={options.validation_steps}), and the longest user has "
            f"{longest}; bring a log with longer users",
            path,
        )
    if int(split.validation_start.max(initial=0)) <= MIN_HISTORY:
        raise DataError(
            f"training.test_steps={options.test_steps} leaves nothing to train on: the longest "
            f"user has {longest} events, of which {MIN_HISTORY} would be trained on; set "
            f"training.test_steps to {max(1, longest // 3)} or fewer, or bring a log with longer "
            "users",
            path,
        )
    if tested == 1:
        return [
            f"one of {users:,} users is tested: figures are of one person, and intervals over "
            "users say nothing"
        ]
    return []
