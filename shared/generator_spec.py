"""GeneratorSpec: what a bundle's manifest says of the generative recommender in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.generator_config import GeneratorConfig


class GeneratorSpec(BaseModel):
    """Shape of the network, and whether devices of this bundle tell their items' tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: GeneratorConfig
    devices_send_tokens: bool = Field(
        default=False, description="abstract.item_tokens when the bundle was made"
    )
