"""`make bench`: one table of ratios; absolute figures are of this machine and this moment."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.adaptation import compare_adaptation
from benchmarks.bulk_embedding import compare_bulk
from benchmarks.cached import compare_cached
from benchmarks.cloud import REQUESTS, ROUNDS, compare_cloud
from benchmarks.codec import compare_codec
from benchmarks.device import compare_device
from benchmarks.embedding import compare_batches
from benchmarks.fleet_size import compare_fleet
from benchmarks.processes import compare_processes
from benchmarks.reading import compare_reading
from benchmarks.replay import compare_memory, compare_replay
from benchmarks.retrieval import compare_retrieval
from benchmarks.sheet import Sheet, as_table
from benchmarks.start import compare_start
from benchmarks.student import compare_student
from benchmarks.timing import BenchmarkLine
from benchmarks.training import compare_training
from benchmarks.twin import compare_twin
from device_runtime.abstract.writer import TemplateAbstract
from reports.marked import marked
from scalrec.console import ConsoleProgress, make_console
from scalrec.jobs.exporting import exported
from scalrec.options import Given, among, options
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.cloud_stack import running_cloud
from scalrec.stack.embedders import embedders
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.split import split_log
from training.data.registry import load_log
from training.semantic.anchors import training_anchors, write_abstracts
from training.train import train
from training.trained import TrainedModel

ALONE = ("codec", "retrieval", "student", "adaptation", "start", "reading")
SERVED = ("embedding", "cloud")
TRAINED = ("device", "replay", "memory", "fleet", "processes", "training", "twin")
PARTS = (*ALONE, *SERVED, *TRAINED)
ITEMS, MORE_ITEMS = 100_000, 1_000_000
ROWS, MORE_ROWS = 1_000_000, 10_000_000
LongOption = Annotated[
    bool,
    typer.Option(
        "--long",
        help="Also what takes an hour: a million items to retrieve from, ten million rows to read, "
        "a million requests of 10,000 devices.",
    ),
]
OnlyOption = Annotated[
    str | None, typer.Option(help=f"Only these parts, comma between: {', '.join(PARTS)}.")
]


@options("long only log embedder model work_dir assignments")
def bench(given: Given, long: LongOption = False, only: OnlyOption = None) -> None:
    """Measure ours against the peer or the limit, both in the same run (trains if needed)."""
    # The load comes from a few users that ask as often as they can.
    settings = given(cloud={"port": 0, "device_requests_per_minute": 0})
    try:
        wanted = among(PARTS, "part", only) or ()
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    console = make_console()
    sheet = Sheet(console, settings.work_dir / "bench", wanted)
    run_command(_bench(settings, sheet, console, long=long or "fleet" in wanted))
    if sheet.lines:
        console.print(as_table(sheet.lines, "Ours against the peer or the limit, same run"))
        console.print(marked("[green]✓[/] {}", sheet.path), soft_wrap=True)
    if sheet.failed:
        console.print(marked("[red]✗[/] failed: {}", ", ".join(sheet.failed)))
        raise typer.Exit(1)


async def _bench(settings: Settings, sheet: Sheet, console: Console, *, long: bool) -> None:
    dim = settings.training.dim
    await sheet.measure(
        "codec", lambda: compare_codec(dim=dim, candidates=settings.cloud.candidates)
    )
    if sheet.wants("student", *SERVED, *TRAINED):
        log = load_log(settings.log, cache=settings.cache, progress=ConsoleProgress(console))
        await sheet.measure("student", lambda: compare_student(log, dim=dim))
        if sheet.wants(*SERVED, *TRAINED):
            trained, bundle = await _served(settings, log, sheet, console)
            await _trained(settings, log, trained, bundle, sheet, long=long)
    items = (ITEMS, MORE_ITEMS) if long else (ITEMS,)
    await sheet.measure(
        "retrieval", lambda: compare_retrieval(items, dim=dim, n=settings.cloud.candidates)
    )
    await sheet.measure("adaptation", lambda: compare_adaptation(dim, settings.lsc4rec))
    await sheet.measure("start", compare_start)
    await sheet.measure("reading", lambda: compare_reading(MORE_ROWS if long else ROWS))


async def _served(
    settings: Settings, log: InteractionLog, sheet: Sheet, console: Console
) -> tuple[TrainedModel, Bundle]:
    """Train, and measure what needs an embedder; its server and the cloud are gone afterwards, as
    their cores would be in the way of what follows."""
    progress = ConsoleProgress(console)
    logs = settings.work_dir / "serve"
    serves = sheet.wants(*SERVED)
    async with embedders(
        settings, serves=serves, logs=logs, progress=progress, console=console, allow_fallback=False
    ) as found:
        async with aclosing(found.training.connect(settings.training.threads)) as client:
            trained = await train(settings, log, client, progress=progress)
        bundle, _ = await exported(trained, settings, progress)
        if not serves:
            return trained, bundle
        served = await found.serving()
        texts = _abstracts(settings, log)
        async with aclosing(served.connect(settings.training.threads)) as client:

            async def compare_embedding() -> list[BenchmarkLine]:
                lines = await compare_batches(client, bundle, texts)
                if served.model_dir is not None:
                    lines += await compare_bulk(
                        None if served.settings.url is None else client,
                        bundle,
                        texts,
                        model_dir=served.model_dir,
                        wanted=settings.embedder,
                        threads=settings.training.threads,
                        folder=settings.work_dir / "bench",
                    )
                return lines

            await sheet.ask("embedding", compare_embedding)
        if sheet.wants("cloud") and served.settings.url is None:
            console.print("· cloud is not measured: it needs an embedding server (--embedder vllm)")
        elif sheet.wants("cloud"):
            async with running_cloud(
                settings, bundle.path, served, logs=logs, progress=progress
            ) as cloud:

                async def compare_service() -> list[BenchmarkLine]:
                    lines = await compare_cloud(cloud, served, texts)
                    return lines + await compare_cached(cloud, bundle.id, logs=logs)

                await sheet.ask("cloud", compare_service)
    return trained, bundle


async def _trained(
    settings: Settings,
    log: InteractionLog,
    trained: TrainedModel,
    bundle: Bundle,
    sheet: Sheet,
    *,
    long: bool,
) -> None:
    """What needs a trained model and nothing else beside it."""
    split, backbone = trained.split, trained.backbone
    await sheet.measure("device", lambda: compare_device(log, bundle, trained))
    await sheet.measure("replay", lambda: compare_replay(settings, log, split, bundle))
    await sheet.measure("memory", lambda: compare_memory(settings, log, bundle))
    await sheet.measure("processes", lambda: compare_processes(settings, log, split, bundle))
    await sheet.measure(
        "training",
        lambda: compare_training(log, split, backbone.model.config, backbone.options),
    )
    await sheet.measure("twin", lambda: compare_twin(settings, trained, bundle))
    if long:
        await sheet.measure("fleet", lambda: compare_fleet(settings, bundle))


def _abstracts(settings: Settings, log: InteractionLog) -> list[str]:
    """Real abstracts, made distinct, so that no cache of anybody answers."""
    anchors = training_anchors(split_log(log), 12)
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)
    texts = write_abstracts(log, anchors, writer, settings.profile)
    needed = 2 * (ROUNDS + 1) * REQUESTS
    return [f"{texts[i % len(texts)]} Visit {i}." for i in range(needed)]


if __name__ == "__main__":
    typer.run(bench)
