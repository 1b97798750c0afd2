"""One cell of the frontier: train, judge every snapshot at every request, drive all policies.

The requests are the last ones of a sample of users, none of them trained on. Ranks are those of
the running system, and a refresh takes effect at the next request. Before the window every device
gets one snapshot, of its first request's moment, that counts for no policy; that request is not
scored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import torch

from cloud_service.embedding.base import Embedder
from device_runtime.abstract import TemplateAbstract
from device_runtime.quadratic_gain import QuadraticGain
from shared.cost import call_cost, tokens_per_call
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.anchors import stale_anchors, write_abstracts
from training.background import in_thread
from training.cell import Cell
from training.frontier.contest import Contest
from training.frontier.evidence import FORM, Evidence, collect
from training.frontier.pair_evidence import Judged
from training.frontier.reach import on_and_off
from training.frontier.scores import MODES, alone_rows, score_rows
from training.frontier.ttl import tuned_ttl
from training.frontier.windows import Windows, draw_windows
from training.pairs import top_candidates
from training.pipeline import TrainingRun, events_of, opened_run, sessions_of
from training.refresh.stage import learn_refreshes
from training.requests import make_requests
from training.settings import Recipe
from training.sources import SourceTree
from training.stages import stage_key
from training.trained import TrainedModel

_PACKAGES = ("training", "device_runtime", "shared")
_NO_PART = frozenset({"shared.errors", "shared.progress", "shared.bundle", "training.background"})
_OUTAGES = 3  # stream of the seed
AVAILABILITY = 0.75  # share of requests at which the cloud can be reached, where it comes and goes
MEAN_OUTAGE = 5.0  # in a user's requests


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> Cell:
    """Train (or reuse stages), collect evidence (or reuse it) and drive the policies.

    Raises:
        DataError: as ``training.pipeline.train``, or no user has enough events.
        EmbedderError, ConfigError: as ``training.pipeline.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        options = settings.frontier
        windows = draw_windows(
            log, run.split, length=options.steps, users=options.users, history=options.history
        )
        trained = await run.all()
        learned = (await learn_refreshes(run, trained)).knowledge
        texts = _texts(run, windows)
        evidence = await run.store.run(
            "evidence", _key(run), lambda: _build(run, trained, windows), FORM
        )
        contest = Contest(
            evidence=evidence,
            windows=windows,
            settings=options,
            gain=None if learned.gain is None else QuadraticGain(learned.gain),
            known=learned.call_rates,
            ttl=lambda budget: tuned_ttl(
                log, run.split, windows.user, budget, length=options.steps
            ),
            seed=settings.seed,
        )
        scores = await in_thread(lambda told: _contested(contest, told), progress)
        return Cell(scores, _costs(settings, texts))


def _texts(run: TrainingRun, windows: Windows) -> list[str]:
    """The abstract of every request."""
    anchors = stale_anchors(windows.steps(), ())
    writer = TemplateAbstract(run.log.catalogue, run.settings.abstract.form)
    return write_abstracts(run.log, anchors, writer, run.settings.profile)


def _key(run: TrainingRun) -> str:
    settings, options = run.settings, run.settings.frontier
    tree = SourceTree(Path(__file__).parents[2], _PACKAGES, _NO_PART)
    return stage_key(
        code=tree.hash(["training.frontier.evidence", "training.frontier.windows"]),
        upstream=[run.keys["calibration"]],
        windows={"steps": options.steps, "users": options.users, "history": options.history},
        profile=settings.profile.model_dump(),
        candidates=settings.cloud.candidates,
    )


async def _build(run: TrainingRun, trained: TrainedModel, windows: Windows) -> Evidence:
    judged = await judged_windows(run, trained, windows)
    return await in_thread(
        lambda progress: collect(judged, windows, trained.popularity, progress), run.progress
    )


async def judged_windows(run: TrainingRun, trained: TrainedModel, windows: Windows) -> Judged:
    """Every request of the windows as the frozen models see it."""
    backbone, settings = trained.backbone, run.settings
    text = torch.from_numpy(
        await run.embed(_texts(run, windows), "embedding abstracts of the window")
    )
    requests = await in_thread(
        lambda progress: make_requests(
            backbone.model,
            backbone.table,
            events_of(run.log),
            stale_anchors(windows.steps(), ()),
            progress,
            sessions_of(run.log),
        ),
        run.progress,
    )
    with torch.no_grad():
        e_sem = trained.projector.projector(text)
    return Judged(
        requests=requests,
        e_sem=e_sem,
        candidates=top_candidates(e_sem, requests.table.vectors, settings.cloud.candidates),
        calibration=trained.calibration,
        profile=settings.profile,
        fusion_weight=trained.projector.fusion_weight,
        top_l=settings.training.top_l,
        exclude_seen=trained.repeat_policy == "exclude",
    )


def _contested(contest: Contest, progress: Progress) -> pl.DataFrame:
    users, evidence = contest.windows.user, contest.evidence
    frames = [alone_rows(users, evidence, mode) for mode in MODES]
    up = on_and_off(
        *evidence.alone.shape,
        availability=AVAILABILITY,
        mean_outage=MEAN_OUTAGE,
        rng=np.random.default_rng([contest.seed, _OUTAGES]),
    )
    with progress.task("driving policies") as task:
        for outages in (False, True):
            for entry in contest.entries(up if outages else None):
                # No policy decides by what calibration makes of the answer.
                frames += [
                    score_rows(entry, users, evidence, mode, outages=outages) for mode in MODES
                ]
                task.advance(note=f"{entry.name} at {entry.budget:.0%}")
        for mode, calibrated in MODES.items():
            for entry in contest.bounds(calibrated=calibrated):
                frames.append(score_rows(entry, users, evidence, mode))
                task.advance(note=f"{entry.name} at {entry.budget:.0%}")
    return pl.concat(frames)


def _costs(settings: Recipe, texts: list[str]) -> dict[str, float]:
    """Of a call at every request; a policy costs its share of that."""
    characters = float(np.mean([len(text) for text in texts]))
    every = call_cost(
        settings.cost, requests=len(texts), calls=len(texts), characters_per_call=characters
    )
    return {
        "tokens_per_call": tokens_per_call(settings.cost, characters),
        "money_per_1000_calls": every.money,
    }
