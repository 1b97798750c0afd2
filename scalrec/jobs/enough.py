"""Whether a log that ``refuse_degenerate`` let pass is enough for a run of these settings."""

from __future__ import annotations

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.split import MIN_HISTORY
from training.settings import Recipe
from training.splitting import split_of


def require_enough(log: InteractionLog, settings: Recipe) -> list[str]:
    """Notes on a log whose figures will say little.

    Raises:
        DataError: no event is left to train on; names the setting to change.
    """
    options, users = settings.training, log.n_users
    split = split_of(log, options)
    longest = int(log.counts().max(initial=0))
    learned = int(split.validation_start.max(initial=0))
    if learned <= MIN_HISTORY and options.split == "global":
        raise DataError(
            f"training.split_at={options.split_at} leaves nothing to train on: nobody has more "
            f"than {MIN_HISTORY} events before it that are not validated on; set a later one, or "
            "training.split=user",
            settings.log.path,
        )
    if learned <= MIN_HISTORY:
        raise DataError(
            f"training.test_steps={options.test_steps} leaves nothing to train on: the longest "
            f"user has {longest} events, of which {MIN_HISTORY} would be trained on; set "
            f"training.test_steps to {max(1, longest // 3)} or fewer, or bring a log with longer "
            "users",
            settings.log.path,
        )
    if len(split.tested()) == 1:
        return [
            f"one of {users:,} users is tested: figures are of one person, and intervals over "
            "users say nothing"
        ]
    return []
