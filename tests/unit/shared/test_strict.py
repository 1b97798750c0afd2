"""What every model of a file, a message or a table promises."""

from __future__ import annotations

import pytest
from pydantic import ConfigDict, Field, ValidationError

from shared.refresh_file import GainCoefficients
from shared.strict import Strict


class Lamp(Strict):
    model_config = ConfigDict(allow_inf_nan=False)
    watts: float = 5.0
    places: dict[str, int] = Field(default_factory=dict)


def test_a_key_it_does_not_know_is_an_error() -> None:
    with pytest.raises(ValidationError, match="wats"):
        Lamp.model_validate({"wats": 7.0})


def test_it_cannot_be_changed_once_made() -> None:
    lamp = Lamp()
    with pytest.raises(ValidationError, match="frozen"):
        lamp.watts = 7.0  # type: ignore[misc]


def test_a_model_may_ask_for_more_and_keeps_the_rest() -> None:
    assert GainCoefficients.model_config == {**Strict.model_config, "allow_inf_nan": False}
    with pytest.raises(ValidationError, match="finite"):
        Lamp(watts=float("inf"))


def test_no_two_share_a_default() -> None:
    one = Lamp()
    one.places["hall"] = 1
    assert Lamp().places == {}
