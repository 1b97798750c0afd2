"""CollaborationSpec: how a device brings its own ranking and the cloud's together (LSC4Rec)."""

from __future__ import annotations

from pydantic import Field

from shared.strict import Strict


class CollaborationSpec(Strict):
    """Collaborative inference and adaptive re-training of one device (arXiv 2501.05647).

    A bundle with a generator holds one that validation requests chose; the defaults are for
    bundles without.
    """

    initial_share: float = Field(
        default=0.1, ge=0, le=1, description="share of the cloud's scores, alpha of eq. 10"
    )
    adaptation_rate: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="step size of the device's own re-training (eq. 7), in units of "
        "1 / mean |e_str|^2; 0: the device does not re-train",
    )
    adaptation_steps: int = Field(default=5, ge=1, le=100, description="of gradient descent")
    adaptation_transitions: int = Field(
        default=5, ge=1, le=1000, description="latest own events that it is fitted to"
    )
