"""The generative cloud recommender: how items are named, how large it is, how it is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.generator_config import Generative
from shared.section import Section


class GenerativeSettings(Section):
    """P5 and POD (LSC4Rec's cloud models): an encoder-decoder that writes an item's tokens."""

    model: Generative = Field(
        default="p5",
        description="p5: a discrete prompt of words; pod: continuous vectors distilled from it",
    )
    size: Literal["cpu", "medium", "paper"] = Field(
        default="cpu",
        description="cpu: trains in minutes on one core; medium: fourteen times its parameters, "
        "quick enough with bfloat16 where the processor multiplies it; paper: T5-small's sizes",
    )
    tokens: Literal["text", "random"] = Field(
        default="text",
        description="how items are numbered; text: by k-means over the embeddings of their texts; "
        "random: by a seeded hash. Neither reads interactions",
    )
    codes: int = Field(default=256, ge=2, le=4096, description="codes at each level")
    history: int = Field(default=20, ge=1, le=200, description="latest items that are read")
    epochs: int = Field(default=14, ge=1)
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of matrix products while training; weights stay float32"
    )
