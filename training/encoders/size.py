"""EncoderSize: what is chosen of a device's encoder."""

from __future__ import annotations

from pydantic import Field

from shared.section import Section


class EncoderSize(Section):
    """Part of the settings of training, and of every encoder's own configuration."""

    dim: int = Field(default=64, ge=2, description="d, length of item vectors and of e_str")
    layers: int = Field(default=2, ge=1, description="blocks of the encoder")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share dropped while training")
    return_mechanism: bool = Field(default=True, description="copy logits over the own history")
