"""Names of a package that are imported when they are asked for, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from scalrec.rooms import check_rooms


def looked_up(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of ``package``.

    Args:
        places: public name -> ``module:attribute``.

    What it gives raises ExtraMissing where an extra is needed that is not installed, and
    ImportError where another project's package is found in the place of one of ours.
    """

    def attribute(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, inner = places[name].partition(":")
        try:
            return getattr(import_module(module), inner)
        except ImportError as error:
            check_rooms()  # another project's package in the place of ours explains it
            if (missing := _missing(error, f"{package}.{name}")) is None:
                raise
            raise missing from error

    return attribute


def _missing(error: ImportError, what: str) -> Exception | None:
    """The error that names the extra which ``what`` needs, if that is what is wrong."""
    # Only now: what it imports of ours is known to be ours.
    from scalrec.extras import COMMAND_EXTRAS, extra_missing, extra_of

    extra = COMMAND_EXTRAS.get(what.rpartition(".")[2]) or extra_of(error.name or "")
    return extra_missing(error, what, extra)
