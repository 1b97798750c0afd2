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
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.adaptation import compare_adaptation
from benchmarks.bulk_embedding import compare_bulk
from benchmarks.cached import compare_cached
from benchmarks.cloud import REQUESTS, ROUNDS, compare_cloud
from benchmarks.codec import compare_codec
from benchmarks.device import compare_device
from benchmarks.embedding import compare_batches
from benchmarks.processes import compare_processes
from benchmarks.reading import compare_reading
from benchmarks.replay import compare_memory, compare_replay
from benchmarks.retrieval import compare_retrieval
from benchmarks.start import compare_start
from benchmarks.student import compare_student
from benchmarks.timing import BenchmarkLine
from benchmarks.training import compare_training
from benchmarks.twin import compare_twin
from device_runtime.abstract.writer import TemplateAbstract
from loadtest.replay.run_info import git_revision
from scalrec.console import ConsoleProgress, make_console
from scalrec.jobs.exporting import exported
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.cloud_stack import running_cloud
from scalrec.stack.embedders import embedders
from shared.files import write_whole
from shared.interactions import InteractionLog
from shared.split import split_log
from training.data.registry import load_log
from training.semantic.anchors import training_anchors, write_abstracts
from training.train import train

MANY_ITEMS = (100_000, 1_000_000)
MillionOption = Annotated[
    bool, typer.Option("--million", help="Retrieve from a million items, too; takes a minute more.")
]


@options("log embedder model million assignments")
def bench(given: Given, million: MillionOption = False) -> None:
    """Measure ours against the peer or the limit, both in the same run (trains if needed)."""
    # The load comes from a few users that ask as often as they can.
    settings = given(cloud={"port": 0, "device_requests_per_minute": 0})
    run_command(_bench(settings, make_console(), million=million))


async def _bench(settings: Settings, console: Console, *, million: bool) -> None:
    progress = ConsoleProgress(console)
    log = load_log(settings.log, cache=settings.cache, progress=progress)
    logs = settings.work_dir / "serve"
    results: list[BenchmarkLine] = compare_codec(
        dim=settings.training.dim, candidates=settings.cloud.candidates
    )
    async with embedders(
        settings, serves=True, logs=logs, progress=progress, console=console, allow_fallback=False
    ) as found:
        async with aclosing(found.training.connect(settings.training.threads)) as client:
            trained = await train(settings, log, client, progress=progress)
        bundle, _ = await exported(trained, settings, progress)
        served = await found.serving()
        async with aclosing(served.connect(settings.training.threads)) as client:
            results += await compare_batches(client, bundle, _abstracts(settings, log))
            if served.model_dir is not None:
                results += await compare_bulk(
                    None if served.settings.url is None else client,
                    bundle,
                    _abstracts(settings, log),
                    model_dir=served.model_dir,
                    wanted=settings.embedder,
                    threads=settings.training.threads,
                    folder=settings.work_dir / "bench",
                )
        if served.settings.url is not None:
            async with running_cloud(
                settings, bundle.path, served, logs=logs, progress=progress
            ) as cloud:
                results += await compare_cloud(cloud, served, _abstracts(settings, log))
                results += await compare_cached(cloud, bundle.id, logs=logs)
    # After the servers are gone: their cores would be in the way.
    results += await asyncio.to_thread(
        compare_retrieval,
        MANY_ITEMS if million else MANY_ITEMS[:1],
        dim=settings.training.dim,
        n=settings.cloud.candidates,
    )
    results += await asyncio.to_thread(compare_device, log, bundle, trained)
    results += await asyncio.to_thread(compare_student, log, dim=settings.training.dim)
    results += await asyncio.to_thread(compare_adaptation, settings.training.dim, settings.lsc4rec)
    results += await asyncio.to_thread(compare_replay, settings, log, trained.split, bundle)
    results += await asyncio.to_thread(compare_memory, settings, log, bundle)
    results += await asyncio.to_thread(compare_processes, settings, log, trained.split, bundle)
    results += await asyncio.to_thread(
        compare_training,
        log,
        trained.split,
        trained.backbone.model.config,
        trained.backbone.options,
    )
    results += await asyncio.to_thread(compare_twin, settings, trained, bundle)
    results.append(await asyncio.to_thread(compare_start))
    results += await asyncio.to_thread(compare_reading)
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


def _print(console: Console, results: list[BenchmarkLine]) -> None:
    table = Table(title="Ours against the peer or the limit, same run", title_justify="left")
    for column in ("what", "ours", "theirs", "unit", "ratio", "better"):
        table.add_column(column, justify="left" if column in ("what", "better") else "right")
    for r in results:
        table.add_row(
            r.name, f"{r.ours:,.1f}", f"{r.theirs:,.1f}", r.unit, f"{r.ratio:.3f}", r.meaning
        )
    console.print(table)


def _write(folder: Path, results: list[BenchmarkLine]) -> Path:
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S}.json"
    record = {
        "when": now.isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "results": [asdict(result) for result in results],
    }
    return write_whole(path, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(bench)
