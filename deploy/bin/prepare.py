"""Fill the volumes that the services start from: `prepare.py model`, `prepare.py bundle`.

model: the text model in the cache volume, under the name vLLM serves it by.
bundle: keep the bundle in the volume if it is whole and of the embedder in force; else take one
from the folder of given bundles; else train one. Training continues where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from launch.model_files import resolve_model
from scalrec.folders import bundle_stem, find_bundle
from scalrec.settings import Settings, load_settings
from shared.bundle import Bundle, load_bundle
from shared.errors import BundleError, ConfigError, ScalrecError
from training.data.registry import load_log

GIVEN = Path("/given")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["model", "bundle"])
    what = parser.parse_args().what
    try:
        settings = load_settings()
        (prepare_model if what == "model" else prepare_bundle)(settings)
    except ScalrecError as error:
        sys.exit(f"prepare {what}: {error}")


def prepare_model(settings: Settings) -> None:
    """Raises ConfigError if there is no such model."""
    if not settings.embedder.runs_model:
        print(f"the {settings.embedder.backend} embedder needs no model of ours")
        return
    folder = resolve_model(settings.embedder.model, cache=settings.cache)
    served = settings.cache / "models" / "served"
    served.mkdir(parents=True, exist_ok=True)
    link = served / Path(settings.embedder.model).name
    partial = link.with_name(link.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(folder, served))
    partial.replace(link)
    print(f"model {settings.embedder.model} is in {folder}")


def prepare_bundle(settings: Settings) -> None:
    """Raises ScalrecError; replaces this process by the training if it comes to that."""
    # The fleet replays the log and may not write to the cache.
    load_log(settings.log, cache=settings.cache)
    try:
        wanted = find_bundle(settings)
    except ConfigError:  # none yet
        wanted = settings.work_dir / "bundles" / bundle_stem(settings)
    found, why = _usable(wanted, settings)
    if found is not None:
        print(f"bundle {found.id} is in {wanted}")
        return
    print(f"{wanted}: {why}")
    if closed := _closed(GIVEN):
        print(closed)
    for folder in sorted(p for p in GIVEN.glob("*") if p.is_dir()):
        given, why = _usable(folder, settings)
        if given is None:
            print(f"given bundle {folder.name} is not used: {why}")
            continue
        partial = wanted.with_name(wanted.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        load_bundle(partial)
        shutil.rmtree(wanted, ignore_errors=True)
        partial.rename(wanted)
        print(f"bundle {given.id} taken from {folder.name}")
        return
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "scalrec", "export"])


def _closed(folder: Path) -> str:
    """Why given bundles cannot be looked for, and what to do; "" if they can."""
    if not folder.exists() or os.access(folder, os.R_OK | os.X_OK):
        return ""
    return (
        f"given bundles are not looked for: user {os.getuid()} may not read {folder}, which is "
        "deploy/bundles or SCALREC_BUNDLES; `chmod -R a+rX` that folder, and under SELinux set "
        "SCALREC_SELINUX=1"
    )


def _usable(folder: Path, settings: Settings) -> tuple[Bundle | None, str]:
    """The bundle in a folder, or None and why not."""
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        return None, str(error)
    manifest = bundle.manifest
    if manifest.log != settings.log.name:
        return None, f"it is of the log {manifest.log}, not {settings.log.name}"
    if settings.embedder.serves(manifest.embedder.backend) != settings.embedder.backend:
        return None, (
            f"it was made with the embedder {manifest.embedder.backend}, "
            f"not {settings.embedder.backend}"
        )
    if settings.cloud.candidates_from == "generative":
        found, wanted = manifest.generator, settings.generative.model
        if found is None or found.config.model != wanted:
            return None, f"it has no generator of the kind {wanted}"
        if not found.devices_send_tokens:
            return None, "its devices tell no item tokens, and a generator needs them"
    return bundle, ""


if __name__ == "__main__":
    main()
