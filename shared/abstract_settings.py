"""What leaves a device: the abstract's form, and whether item tokens may go beside it."""

from __future__ import annotations

from pydantic import Field

from shared.abstract_form import AbstractForm


class AbstractSettings(AbstractForm):
    """The settings' section; only its form is a property of the projector."""

    item_tokens: bool = Field(
        default=False,
        description="devices send the tokens of their latest items beside the abstract, for "
        "cloud.candidates_from=generative. Tokens name items exactly: whoever holds the bundle "
        "can read them back",
    )
