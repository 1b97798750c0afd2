"""What cloud calls cost per 1,000 requests of devices: calls, tokens, GPU time, money.

All prices are examples, nobody's offer: set your own.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from shared.section import Section

PER_REQUESTS = 1000
_TOKENS_PER_PRICE = 1e6
_SECONDS_PER_HOUR = 3600.0
CHARACTERS_PER_TOKEN = 4.0  # about so many in English


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


@dataclass(frozen=True, slots=True)
class CallCost:
    """Per 1,000 requests of devices.

    Attributes:
        calls: abstracts that the cloud embedded.
        tokens: of these abstracts.
        gpu_seconds: time of a GPU.
        money: in ``CostSettings.currency``.
    """

    calls: float
    tokens: float
    gpu_seconds: float
    money: float


def call_cost(
    prices: CostSettings, *, requests: int, calls: float, characters_per_call: float = 0.0
) -> CallCost:
    """Cost of ``calls`` to the cloud, spread over ``requests`` of devices.

    Args:
        calls: that made the cloud embed an abstract; what never reached it costs nothing.
        characters_per_call: mean length of an abstract, from which its tokens are estimated unless
            ``prices.tokens_per_abstract`` says how many there are.

    Raises:
        ValueError: there are no requests, or a negative count.
    """
    if requests < 1 or calls < 0 or characters_per_call < 0:
        raise ValueError(f"no cost of {calls} calls for {requests} requests")
    per_thousand = calls * PER_REQUESTS / requests
    tokens = per_thousand * tokens_per_call(prices, characters_per_call)
    gpu_seconds = per_thousand * prices.gpu_seconds_per_call
    money = (
        tokens * prices.per_million_tokens / _TOKENS_PER_PRICE
        + gpu_seconds * prices.per_gpu_hour / _SECONDS_PER_HOUR
    )
    return CallCost(per_thousand, tokens, gpu_seconds, money)


def tokens_per_call(prices: CostSettings, characters: float) -> float:
    """Tokens of one abstract: as set, else estimated from its length."""
    if prices.tokens_per_abstract is not None:
        return prices.tokens_per_abstract
    return characters / CHARACTERS_PER_TOKEN
