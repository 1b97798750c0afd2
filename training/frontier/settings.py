"""The frontier between cloud calls and ranking quality: over which requests, at which budgets."""

from __future__ import annotations

from pydantic import Field, field_validator

from shared.section import Section


class FrontierSettings(Section):
    """Requests, budgets and outages over which refresh policies are compared offline."""

    steps: int = Field(
        default=60,
        ge=3,
        description="last requests of each user; training.test_steps must be as many at least",
    )
    users: int = Field(default=300, ge=1, description="at most so many, drawn at random")
    history: int = Field(default=40, ge=0, description="events a user must have before those")
    budgets: tuple[float, ...] = Field(
        default=(0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0),
        description="wanted calls per request; every-k asks every 1 / budget requests",
    )

    @field_validator("budgets")
    @classmethod
    def _shares(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if not budgets or any(not 0 < budget <= 1 for budget in budgets):
            raise ValueError("a budget is a share of the requests, above 0 and at most 1")
        return tuple(sorted(set(budgets)))
