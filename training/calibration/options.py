"""CalibrationOptions: how a calibrator is fitted, for one device profile."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from training.calibration_method import CalibrationMethod


class CalibrationOptions(CalibrationMethod):
    """The method and its optimisation, for one device profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    patience: int = Field(default=6, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(ge=0, lt=1)
    candidates: int = Field(ge=1, description="N of eq. 7")
    window: int = Field(ge=1, description="of the device profile")
    unite_history: bool
    exclude_seen: bool

    @property
    def ranks_either_list(self) -> bool:
        """Whether distributions are over the candidates of S1 or S2, as the paper draws them."""
        return self.proposal == "paper" and not self.label_weight
