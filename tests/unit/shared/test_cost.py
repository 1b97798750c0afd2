import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scalrec.settings import load_settings
from shared.cost import CostSettings, call_cost


def test_tokens_and_gpu_time_are_paid_for() -> None:
    prices = CostSettings(
        per_million_tokens=2.0,
        gpu_seconds_per_call=0.9,
        per_gpu_hour=4.0,
        tokens_per_abstract=150,
    )
    cost = call_cost(prices, requests=500, calls=100, characters_per_call=9999)
    assert cost.calls == 200
    assert cost.tokens == 200 * 150
    assert cost.gpu_seconds == pytest.approx(180)
    assert cost.money == pytest.approx(30_000 * 2e-6 + 180 * 4 / 3600)


def test_tokens_are_estimated_from_characters_where_nobody_counted_them() -> None:
    assert (
        call_cost(CostSettings(), requests=1000, calls=10, characters_per_call=600).tokens == 1500
    )


@given(calls=st.integers(0, 10_000), more=st.integers(1, 10_000))
def test_more_calls_cost_more_and_none_nothing(calls: int, more: int) -> None:
    prices = CostSettings(gpu_seconds_per_call=0.1)
    few, many = (
        call_cost(prices, requests=77, calls=n, characters_per_call=500)
        for n in (calls, calls + more)
    )
    assert many.money > few.money >= 0
    assert (few.money == 0) == (calls == 0)


def test_a_cost_of_no_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="0 requests"):
        call_cost(CostSettings(), requests=0, calls=0)


@pytest.mark.parametrize(
    "wrong",
    [{"currency": ""}, {"per_gpu_hour": -1}, {"tokens_per_abstract": -1}, {"per_call": 1}],
)
def test_prices_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CostSettings.model_validate(wrong)


def test_prices_are_settings() -> None:
    settings = load_settings(cost={"currency": "EUR", "per_million_tokens": 0.5})
    assert (settings.cost.currency, settings.cost.per_million_tokens) == ("EUR", 0.5)
