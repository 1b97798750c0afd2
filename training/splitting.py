"""The split that the settings of training ask for."""

from __future__ import annotations

from shared.interactions import InteractionLog
from shared.split import Split, split_log
from training.settings import TrainingSettings


def split_of(log: InteractionLog, options: TrainingSettings, *, calibration: bool = False) -> Split:
    """Each user's last steps held out.

    Args:
        calibration: also keep the calibration block from the backbone.
    """
    return split_log(
        log,
        test_steps=options.test_steps,
        validation_steps=options.validation_steps,
        calibration_steps=options.calibration_steps if calibration else 0,
    )
