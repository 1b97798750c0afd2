"""Trained: a bundle that training made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.bundle import Bundle, load_bundle
from shared.errors import BundleError


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model.

    Attributes:
        bundle: what devices and the cloud load; it lies under ``work_dir``.
    """

    bundle: Bundle

    def __repr__(self) -> str:
        return f"<Trained bundle {self.bundle.id} of {self.bundle.manifest.log}>"

    @property
    def figures(self) -> Mapping[str, float | int | str]:
        """Validation figures by name, NDCG@10 unless the name says otherwise."""
        return self.bundle.manifest.training

    def export(self, folder: str | os.PathLike[str]) -> Bundle:
        """Copy the bundle into a folder of your own, which must not exist yet.

        Raises:
            BundleError: the folder is there already, or cannot be written.
        """
        target = Path(folder)
        try:
            shutil.copytree(self.bundle.path, target)
        except OSError as error:
            raise BundleError(f"cannot export the bundle to {target}: {error}") from error
        return load_bundle(target)


def bundle_of(bundle: str | os.PathLike[str] | Bundle | Trained) -> Bundle:
    """The bundle that was meant, checked against its manifest; raises BundleError."""
    if isinstance(bundle, Trained):
        return bundle.bundle
    return bundle if isinstance(bundle, Bundle) else load_bundle(Path(bundle))
