"""What calls to the cloud cost. All prices are examples, nobody's offer: set your own."""

from __future__ import annotations

from pydantic import Field

from shared.settings_section import Section


class CostSettings(Section):
    """Prices of cloud calls, for reports; they change no decision."""

    currency: str = Field(default="USD", min_length=1, max_length=12, description="any name")
    per_million_tokens: float = Field(
        default=0.10, ge=0, allow_inf_nan=False, description="an example; 0 if tokens are free"
    )
    gpu_seconds_per_call: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="of a GPU of your own; 0 where tokens are paid for instead",
    )
    per_gpu_hour: float = Field(default=1.50, ge=0, allow_inf_nan=False, description="an example")
    tokens_per_abstract: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="measured with your text model; unset: estimated from the characters sent",
    )
