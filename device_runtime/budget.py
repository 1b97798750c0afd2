"""Budget: the seam between a refresh policy and whoever counts its calls."""

from __future__ import annotations

from typing import Protocol


class Budget(Protocol):
    """Says at which requests the cloud may be asked, so that a wanted share of them does.

    A device's own, or one that all devices of a fleet share: their scores are then ranked together
    and their calls go to one account.
    """

    def decide(self, score: float, *, able: bool = True) -> bool:
        """Whether to ask at this request; to be asked once per request.

        Args:
            score: the higher, the more a call is worth. NaN: unknown; infinite: there is no
                snapshot yet.
            able: False if no call can be made now; the request counts all the same.
        """
        ...
