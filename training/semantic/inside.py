"""Whether training embeds its texts inside its own process rather than by a server."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from launch.model_files import resolve_model
from training.settings import Recipe

SomeRecipe = TypeVar("SomeRecipe", bound=Recipe)
# Architectures that transformers and vLLM gave vectors of cosines above .999 for (ADR 0044).
_MEASURED = frozenset({"bert", "llama"})
_NEEDED = ("torch", "transformers")


def embedding_inside(settings: SomeRecipe) -> SomeRecipe:
    """``settings`` with the embedder that training uses: the transformers back end where it gives
    what the vllm one would, for less work; else ``settings`` themselves.

    Raises:
        ConfigError: the model cannot be had.
    """
    wanted = settings.embedder
    # A graphics card is quicker than this process, and arguments of somebody's own may change
    # what the server computes.
    plain = wanted.device == "cpu" and not wanted.extra_args
    if wanted.bulk == "served" or wanted.backend != "vllm" or not wanted.needs_model or not plain:
        return settings
    if any(find_spec(module) is None for module in _NEEDED):
        return settings
    if not _agrees(resolve_model(wanted.model, cache=settings.cache)):
        return settings
    embedder = wanted.model_copy(update={"backend": "transformers"})
    return settings.model_copy(update={"embedder": embedder})


def _agrees(model: Path) -> bool:
    """Whether the model in a folder is of a kind that both back ends compute alike."""
    if (model / "modules.json").exists():
        return False  # vLLM reads layers, prompts and limits from files that transformers ignores
    try:
        config = json.loads((model / "config.json").read_text())
        return config.get("model_type") in _MEASURED
    except (OSError, ValueError, AttributeError):
        return False  # whoever loads it says what is wrong
