"""`make bench`: one table of ratios; absolute figures are of this machine and this moment."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from device_runtime.abstract import TemplateAbstract
from loadtest.run_info import git_revision
from scalrec.bench.adaptation import compare_adaptation
from scalrec.bench.cached import compare_cached
from scalrec.bench.cloud import REQUESTS, ROUNDS, compare_cloud
from scalrec.bench.codec import compare_codec
from scalrec.bench.device import compare_device
from scalrec.bench.replay import compare_memory, compare_replay
from scalrec.bench.timing import Comparison
from scalrec.bench.training import compare_training
from scalrec.bundles import bundle_dir
from scalrec.cloud_stack import running_cloud
from scalrec.console import ConsoleProgress, make_console
from scalrec.embedder_server import served_embedder
from scalrec.options import EmbedderOption, LogOption, ModelOption, SetOption, settings_from
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.training import export_if_changed
from shared.interactions import InteractionLog
from shared.split import split_log
from training import pipeline
from training.anchors import training_anchors, write_abstracts
from training.datasets.registry import load_log


def bench(
    log: LogOption = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    assignments: SetOption = None,
) -> None:
    """Measure ours against the peer or the limit, both in the same run (trains if needed)."""
    settings = settings_from(
        log=log,
        embedder=embedder,
        model=model,
        assignments=assignments,
        # The load comes from a few users that ask as often as they can.
        cloud={"port": 0, "device_requests_per_minute": 0},
    )
    run_command(_bench(settings, make_console()))


async def _bench(settings: Settings, console: Console) -> None:
    progress = ConsoleProgress(console)
    log = load_log(settings.log, cache=settings.cache, progress=progress)
    logs = settings.work_dir / "serve"
    results: list[Comparison] = compare_codec(
        dim=settings.training.dim, candidates=settings.cloud.candidates
    )
    async with served_embedder(
        settings, logs=logs, progress=progress, console=console, allow_fallback=False
    ) as served:
        async with aclosing(served.connect(settings.training.threads)) as client:
            trained = await pipeline.train(settings, log, client, progress=progress)
        bundle, _ = export_if_changed(trained, settings, bundle_dir(settings), progress=progress)
        if served.settings.url is not None:
            async with running_cloud(
                settings, bundle.path, served, logs=logs, progress=progress
            ) as cloud:
                results += await compare_cloud(cloud, served, _abstracts(settings, log))
                results += await compare_cached(cloud, bundle.id, logs=logs)
    # After the servers are gone: their cores would be in the way.
    results += await asyncio.to_thread(compare_device, log, bundle, trained)
    results += await asyncio.to_thread(compare_adaptation, settings.training.dim, settings.lsc4rec)
    results += await asyncio.to_thread(compare_replay, settings, log, trained.split, bundle)
    results += await asyncio.to_thread(compare_memory, settings, log, bundle)
    results += await asyncio.to_thread(
        compare_training,
        log,
        trained.split,
        trained.backbone.model.config,
        trained.backbone.options,
    )
    _print(console, results)
    path = _write(settings.work_dir / "bench", results)
    console.print(f"[green]✓[/] {path}", soft_wrap=True)


def _abstracts(settings: Settings, log: InteractionLog) -> list[str]:
    """Real abstracts, made distinct, so that no cache of anybody answers."""
    anchors = training_anchors(split_log(log), 12)
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)
    texts = write_abstracts(log, anchors, writer, settings.profile)
    needed = 2 * (ROUNDS + 1) * REQUESTS
    return [f"{texts[i % len(texts)]} Visit {i}." for i in range(needed)]


def _print(console: Console, results: list[Comparison]) -> None:
    table = Table(title="Ours against the peer or the limit, same run", title_justify="left")
    for column in ("what", "ours", "theirs", "unit", "ratio", "better"):
        table.add_column(column, justify="left" if column in ("what", "better") else "right")
    for r in results:
        table.add_row(
            r.name, f"{r.ours:,.1f}", f"{r.theirs:,.1f}", r.unit, f"{r.ratio:.3f}", r.meaning
        )
    console.print(table)


def _write(folder: Path, results: list[Comparison]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S}.json"
    record = {
        "when": now.isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


if __name__ == "__main__":
    typer.run(bench)
