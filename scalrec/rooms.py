"""The top-level packages that scalrec is made of, and whether Python finds ours.

Some have names that other people's projects use, too (`shared`, `experiments`): see docs/adr/0035.
The standard library alone, and nothing of ours: what is imported here may not be ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ROOMS = (
    "cloud_service",
    "device_runtime",
    "experiments",
    "launch",
    "loadtest",
    "reports",
    "scalrec",
    "shared",
    "training",
)


def check_rooms(rooms: Iterable[str] = ROOMS) -> None:
    """Refuse packages of other people that have the name of one of ours.

    Raises:
        ImportError: Python finds one of ``rooms`` in another folder than scalrec's, or not at all.
    """
    home = Path(__file__).resolve().parent.parent
    for room in rooms:
        found = _folder(room)
        if found is None:
            raise ImportError(
                f"scalrec's package {room!r} is missing from {home}: install scalrec again"
            )
        if found != home / room:
            raise ImportError(
                f"scalrec needs its own package {room!r} from {home}, but Python finds {found} "
                "first: rename that folder, take its parent out of PYTHONPATH, or run the program "
                "`scalrec` (not `python -m scalrec`) from another folder"
            )


def _folder(room: str) -> Path | None:
    """Where Python finds a top-level package; its file if it is a plain module."""
    spec = find_spec(room)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return Path(places[0]).resolve()
