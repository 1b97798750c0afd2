"""CalibrationMethod: what corrections are made from, how far they may go, and what they learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.section import Section


class CalibrationMethod(Section):
    """Part of the settings of training, and of the options a calibrator is fitted with.

    The paper's method is proposal "paper", no gate, label_weight 0, severity "kl", no age rules and
    none of the cues beyond ``device_runtime.state.cues.PAPER_CUES``. With that proposal and no
    label, what is learned is how either the fresh candidates (S1) or the old ones (S2) are ranked,
    drawn for each pair; otherwise both are, with what the device knows beside them.
    """

    gamma_max: float = Field(default=4.0, ge=0, description="radius in units of mean |e_sem|")
    temperature: float = Field(default=1.0, gt=0, description="of the softmax over scores, T")
    lambda_rel: float = Field(default=1.0, ge=0, description="weight of the estimator's loss")
    lambda_reg: float = Field(default=1e-4, ge=0, description="weight of the correction's size")
    top_l: int = Field(
        default=50, ge=2, description="first items of two rankings whose agreement omega is"
    )
    proposal: Literal["paper", "context"] = Field(
        default="context",
        description="what a correction is made from: paper: e_sem(tau) and e_str(t); context: also "
        "e_str(tau), the items met since, and the cues",
    )
    residual: bool = Field(default=True, description="the correction adds a residual")
    gate: bool = Field(default=True, description="the correction can also discount e_sem")
    estimator: Literal["learned", "fixed", "none"] = Field(
        default="learned", description="fixed: r = .5 always; none: corrections are not bounded"
    )
    severity: Literal["kl", "quantile"] = Field(
        default="quantile",
        description="target of r: kl: exp(-D) as in the paper; quantile: its place among all pairs",
    )
    label_weight: float = Field(
        default=0.5, ge=0, le=1, description="of the true target beside the fresh teacher"
    )
    ignored_cues: tuple[
        Literal["delta", "drift", "omega", "length", "density", "elapsed", "turn", "moved"], ...
    ] = Field(default=(), description="cues that estimator and calibrator may not see")
    words_cue: bool = Field(
        default=False,
        description="the estimator also reads how far the words of now agree with the cached "
        "embedding, where devices have a text student",
    )
    age_rules: bool = Field(
        default=True,
        description="choose on validation, by age of the snapshot, how far it is trusted",
    )
    rule_margin: float = Field(
        default=2.0,
        ge=0,
        description="standard errors an age rule must be ahead by before a plainer one gives way; "
        "0: the best on validation is taken",
    )
