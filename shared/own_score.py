"""What a bundle adds to the structural score on the device: neither grows old, both may be off."""

from __future__ import annotations

from pydantic import Field

from shared.strict import Strict


class OwnCounts(Strict):
    """The own-history term ``weight * log(1 + scale * n_i)`` of an item's score.

    n_i = sum over the retained own events of the item of 2^(-age / half_life), where the user's
    last event has age 0 and each event after an event, of whatever item, makes it older by 1.
    """

    weight: float = Field(ge=0, allow_inf_nan=False, description="a; 0: the term is off")
    scale: float = Field(gt=0, allow_inf_nan=False, description="c, on the counts")
    half_life: float = Field(gt=0, allow_inf_nan=False, description="h, in events of the user")


class TextStudentSpec(Strict):
    """The term ``weight * <e_text, v'_i>``, e_text made on the device of its own words.

    Its weights are in STUDENT_FILE, see ``shared.text_student``.
    """

    rows: int = Field(ge=1, description="of the table that words are hashed into")
    weight: float = Field(
        ge=0, allow_inf_nan=False, description="b; 0: only the calibrator reads e_text, if it does"
    )
