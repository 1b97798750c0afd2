"""What leaves a device: the abstract's form, and whether item tokens may go beside it."""

from __future__ import annotations

from pydantic import Field

from shared.abstract_form import AbstractForm, PrivacyLevel
from shared.settings_section import Section


class AbstractSettings(Section):
    """What a user may choose of it; the rest of the form is what all bundles are made with."""

    level: PrivacyLevel = Field(
        default="items",
        description="what leaves the device: items: names of items, areas and categories; coarse: "
        "areas, categories and decades, no item; categories: categories alone. Below items, names "
        "inside a query are said by their categories too",
    )

    item_tokens: bool = Field(
        default=False,
        description="devices send the tokens of their latest items beside the abstract, for "
        "cloud.candidates_from=generative. Tokens name items exactly: whoever holds the bundle "
        "can read them back",
    )

    @property
    def form(self) -> AbstractForm:
        """What the projector is fitted on; a bundle's manifest holds it."""
        return AbstractForm(level=self.level)
