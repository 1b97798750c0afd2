"""GeneratorConfig: the shape of a generative recommender, and what a manifest says of one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.strict import Strict

Generative = Literal["p5", "pod"]


class GeneratorConfig(Strict):
    """An encoder-decoder of the T5 family over item tokens.

    ``levels`` holds the number of codes at each place of an item's token sequence, so that two
    generators agree on a vocabulary exactly when their ``levels`` do.
    """

    model: Generative = "p5"
    levels: tuple[int, ...] = Field(min_length=1)
    history: int = Field(default=20, ge=1, description="latest items that are read, at most")
    d_model: int = Field(default=64, ge=8)
    d_ff: int = Field(default=256, ge=8)
    d_kv: int = Field(default=16, ge=4)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=2, ge=1, description="of the encoder, and of the decoder")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    prompt_vectors: int = Field(default=3, ge=1, description="continuous prompt of POD")


class GeneratorSpec(Strict):
    """Shape of the network, and whether devices of this bundle tell their items' tokens."""

    config: GeneratorConfig
    devices_send_tokens: bool = Field(
        default=False, description="abstract.item_tokens when the bundle was made"
    )
