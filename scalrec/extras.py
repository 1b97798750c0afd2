"""Extras of the distribution: what a package that is not installed would come with."""

from __future__ import annotations

import re
from importlib import metadata

from scalrec.rooms import ROOMS
from shared.errors import ScalrecError

# From small to large: of the first three, each holds the one before it.
EXTRAS = ("cloud", "fleet", "train", "otel", "ray", "mlflow")
# What commands need; None: what a device has is enough.
COMMAND_EXTRAS = {
    "simulate": "train",
    "data": "fleet",
    "advise": "train",
    "train": "train",
    "export": "train",
    "serve": "cloud",
    "fleet": "fleet",
    "report": "fleet",
    "dashboard": "fleet",
    "token": "cloud",
    "tune-embedder": "train",
    "profiles": None,
    "loadtest": "fleet",
    "robustness": "train",
    "experiment": "train",
    "doctor": "cloud",
}
# Modules that are called otherwise than their package.
_PACKAGES = {
    "jwt": "pyjwt", "mlflow": "mlflow-skinny", "vl_convert": "vl-convert-python", "yaml": "pyyaml",
}  # fmt: skip


class ExtraMissing(ScalrecError):
    """A command needs packages that this installation was made without."""


def extra_of(module: str) -> str | None:
    """The smallest extra that names the package of ``module``; None if none does."""
    top = module.partition(".")[0]
    package = normal(_PACKAGES.get(top, top))
    wanted = requirements()
    return next((extra for extra in EXTRAS if package in wanted.get(extra, ())), None)


def requirements(distribution: str = "scalrec") -> dict[str, tuple[str, ...]]:
    """Names of the packages that a distribution names itself, by extra; "" for those without one.

    Empty where it is not installed, as in a copy of the sources.
    """
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name = normal(re.split(r"[^\w.-]", line)[0])
        extra = re.search(r"""extra == ["']([\w-]+)["']""", line)
        if name != normal(distribution):
            key = extra[1] if extra else ""
            found[key] = (*found.get(key, ()), name)
    return found


def extra_missing(error: ImportError, what: str, extra: str | None) -> ExtraMissing | None:
    """The error to raise where a package of ``extra`` is not installed; None for other errors.

    Args:
        what: what cannot go on, such as a command.
    """
    module = (error.name or "").partition(".")[0]
    if not extra or not isinstance(error, ModuleNotFoundError) or module in ("", *ROOMS):
        return None
    return ExtraMissing(
        f"{what} needs the package {module}, which is not installed: run "
        f"pip install 'scalrec[{extra}]' (in a checkout: make env)"
    )


def normal(name: str) -> str:
    """A distribution's name as names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
