"""Tuning of the text embedder to a log, with low-rank adapters (LoRA)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.section import Section


class LoraSettings(Section):
    """How adapters are trained and how much of the log they are trained on."""

    rank: int = Field(default=8, ge=1, le=256, description="of each adapter")
    layers: int | None = Field(
        default=None, ge=1, description="last layers of the model that get adapters; unset: all"
    )
    abstracts: int = Field(
        default=4096, ge=2, description="training abstracts, drawn once; all if there are fewer"
    )
    epochs: int = Field(default=4, ge=1, description="passes over those abstracts")
    batch_size: int = Field(
        default=64, ge=2, description="abstracts in a batch; their next items are its candidates"
    )
    learning_rate: float = Field(default=5e-4, gt=0, description="at its peak")
    temperature: float = Field(default=0.05, gt=0, description="of the softmax over cosines")
    validation_requests: int = Field(
        default=512, ge=1, description="validation steps, drawn once, that judge each epoch"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of matrix products; bfloat16 is much quicker where the processor has "
        "instructions for it. Weights stay float32",
    )
