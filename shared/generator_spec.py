"""GeneratorSpec: what a bundle's manifest says of the generative recommender in it."""

from __future__ import annotations

from pydantic import Field

from shared.generator_config import GeneratorConfig
from shared.strict import Strict


class GeneratorSpec(Strict):
    """Shape of the network, and whether devices of this bundle tell their items' tokens."""

    config: GeneratorConfig
    devices_send_tokens: bool = Field(
        default=False, description="abstract.item_tokens when the bundle was made"
    )
