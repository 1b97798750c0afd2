"""Where things shared by all checkouts of a user are kept. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def default_cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """User cache for environments, models, logs and embeddings.

    ``$SCALREC_CACHE``, else ``$XDG_CACHE_HOME/scalrec``, else ``~/.cache/scalrec``.
    """
    variables = os.environ if environ is None else environ
    if chosen := variables.get("SCALREC_CACHE"):
        return Path(chosen).expanduser().absolute()
    if xdg := variables.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "scalrec"
    return Path.home() / ".cache" / "scalrec"
