"""One cell of the frontier: train, judge every snapshot at every request, drive all policies.

The requests are the last ones of a sample of users, none of them trained on. Ranks are those of
the running system, and a refresh takes effect at the next request. Before the window every device
gets one snapshot, of its first request's moment, that counts for no policy; that request is not
scored.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from cloud_service.embedding.base import Embedder
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.refresh.quadratic_gain import QuadraticGain
from experiments.studies.cell import CellScores
from experiments.studies.frontier.contest import Contest
from experiments.studies.frontier.evidence import FORM, Evidence, collect
from experiments.studies.frontier.pair_evidence import pair_evidence
from experiments.studies.frontier.reach import on_and_off
from experiments.studies.frontier.scores import MODES, alone_rows, score_rows
from experiments.studies.frontier.ttl import tuned_ttl
from experiments.studies.frontier.windows import LastSteps, draw_windows
from shared.cost import call_cost, tokens_per_call
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.backbone.batches import events_of, sessions_of
from training.background import in_thread
from training.calibration.fit import FittedCalibration
from training.pools import Pools
from training.refresh.stage import learn_refreshes
from training.run import TrainingRun, opened_run
from training.semantic.anchors import stale_anchors, write_abstracts
from training.semantic.requests import make_requests
from training.settings import Recipe
from training.stages.content import fingerprint
from training.stages.stage import Stage
from training.trained import TrainedModel
from training.twin import Twin, make_twin

_OUTAGES = 3  # stream of the seed
AVAILABILITY = 0.75  # share of requests at which the cloud can be reached, where it comes and goes
MEAN_OUTAGE = 5.0  # in a user's requests


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellScores:
    """Train (or reuse stages), collect evidence (or reuse it) and drive the policies.

    Raises:
        DataError: as ``training.train.train``, or no user has enough events.
        EmbedderError, ConfigError: as ``training.train.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        options = settings.frontier
        windows = draw_windows(
            log, run.split, length=options.steps, users=options.users, history=options.history
        )
        trained = await run.all()
        learned = (await learn_refreshes(run, trained)).knowledge
        texts = _texts(run, windows)
        evidence = await run.result(evidence_stage(run, trained, windows))
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
        return CellScores(scores, _costs(settings, texts))


def _texts(run: TrainingRun, windows: LastSteps) -> list[str]:
    """The abstract of every request."""
    anchors = stale_anchors(windows.steps(), ())
    writer = TemplateAbstract(run.log.catalogue, run.settings.abstract.form)
    return write_abstracts(run.log, anchors, writer, run.settings.profile)


def evidence_stage(run: TrainingRun, trained: TrainedModel, windows: LastSteps) -> Stage[Evidence]:
    """Every snapshot judged at every request of the windows."""
    settings = run.settings

    async def build(progress: Progress, _: FittedCalibration) -> Evidence:
        twin = await twin_of_windows(run, trained, windows)
        return await in_thread(lambda stoppable: collect(twin, windows, stoppable), progress)

    return Stage(
        name="evidence",
        options={
            "profile": settings.profile,
            "candidates": settings.cloud.candidates,
            "top_l": settings.training.top_l,
            "abstract": settings.abstract,
        },
        inputs={"log": fingerprint(run.log), "windows": windows},
        upstream=(run.calibrator,),
        code=(evidence_stage, collect, pair_evidence, Twin, Pools, LastSteps),
        build=build,
        form=FORM,
    )


async def twin_of_windows(run: TrainingRun, trained: TrainedModel, windows: LastSteps) -> Twin:
    """Every request of the windows as the devices see it, and a snapshot of its moment."""
    backbone = trained.backbone
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
    return make_twin(
        run.settings, trained, requests, e_sem, run.words_at(trained, requests.anchors)
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
                # One drive serves both modes: no policy reads the calibrated answer.
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
