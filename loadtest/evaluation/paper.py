"""Paper mode: controlled staleness as in SCaLRec section 5, settings S1 and S2.

The device's own ranking and the exported networks rerank the cloud's candidates, so what is
measured is what ships. Candidates stand alone, united with nothing, whatever the profile says.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_runtime.ranking.candidates import build_pool
from device_runtime.ranking.encoded import Encoded
from device_runtime.ranking.semantic import rank_with_snapshot
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.lapse import Lapse
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.log_requests import LogRequests, by_user
from loadtest.evaluation.snapshot_source import SnapshotSource, snapshot_step
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.evidence_records import PAPER, PaperRecord, write_records
from loadtest.records.rank_columns import rank_fields
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from shared.snapshot import Snapshot
from shared.split import Steps

Floats = NDArray[np.float32]
Items = NDArray[np.int32]


def run_paper(
    run_dir: Path,
    log: InteractionLog,
    steps: Steps,
    models: EvaluationModels,
    source: SnapshotSource,
    *,
    gaps: Sequence[int],
    progress: Progress | None = None,
) -> Path:
    """Score every step at every gap in S1 and S2 into paper.parquet; returns its path.

    S1 takes the candidates of a fresh snapshot and the embedding of one ``gap`` events old; S2
    takes both from the old one.
    """
    rows: list[PaperRecord] = []
    requests, bare = LogRequests(log, models), candidates_only(models)
    with (progress or NullProgress()).task("paper mode", len(steps)) as task:
        for user, own in by_user(steps):
            rows.extend(_user_records(user, own, requests, bare, source, gaps))
            task.advance(len(own))
    return write_records(run_dir / PAPER, rows, PaperRecord)


def candidates_only(models: EvaluationModels) -> EvaluationModels:
    """The same models under a profile that ranks the cloud's candidates and nothing else."""
    bare = copy.copy(models)
    limits = {"unite_history": False, "local_candidates": 0}
    bare.profile = models.profile.model_copy(update=limits)
    return bare


def _user_records(
    user: int,
    steps: list[int],
    requests: LogRequests,
    models: EvaluationModels,
    source: SnapshotSource,
    gaps: Sequence[int],
) -> Iterator[PaperRecord]:
    taus = {snapshot_step(step, gap) for step in steps for gap in (0, *gaps)}
    encoded = dict(requests.encode(user, taus))
    wanted = {step: {step - snapshot_step(step, gap) for gap in gaps} for step in steps}
    lapses = {(step, lapse.delta): lapse for step, lapse in requests.lapses(user, wanted)}
    e_sem = {tau: source.e_sem(user, tau) for tau in taus}
    retrieved = {tau: source.candidates(e_sem[tau]) for tau in taus}
    for step in steps:
        for gap in gaps:
            tau = snapshot_step(step, gap)
            for setting, retrieved_at in (("S1", step), ("S2", tau)):
                items, scores = retrieved[retrieved_at]
                lapse = lapses[step, step - tau]
                snapshot = Snapshot(
                    user=str(user),
                    tau=tau,
                    created_ms=0,
                    bundle_id=models.bundle_id,
                    e_sem=e_sem[tau],
                    items=items,
                    scores=scores,
                )
                yield _record(user, step, setting, gap, requests, models, snapshot, encoded, lapse)


def _record(
    user: int,
    step: int,
    setting: str,
    gap: int,
    requests: LogRequests,
    models: EvaluationModels,
    snapshot: Snapshot,
    encoded: dict[int, Encoded | None],
    lapse: Lapse,
) -> PaperRecord:
    then = encoded[snapshot.tau]
    cached = CachedSnapshot(snapshot, None if then is None else then.e_str)
    seen, target = np.unique(requests.history(user, step)), requests.target(user, step)
    pool = build_pool(models, models.table, cached, seen)
    # k = 0: too few candidates are not filled up from elsewhere.
    ranking = rank_with_snapshot(
        models, models.table, pool, encoded[step], seen, lapse=lapse, k=0, calibrate=True
    )
    views = {
        "calibrated": ranking.scores,
        "uncalibrated": ranking.uncalibrated,
        "structure": ranking.structural,
        "semantic": pool.semantic if pool.keep is None else pool.semantic[pool.keep],
    }
    return PaperRecord(
        user=user,
        step=step,
        target=target,
        is_return=bool(np.any(seen == target)),
        last=requests.is_last(user, step),
        setting=setting,
        gap=gap,
        n_candidates=len(ranking.items),
        **rank_fields(
            {name: target_rank(ranking.items, view, target) for name, view in views.items()}
        ),
        delta=lapse.delta,
        omega=ranking.omega,
        drift=ranking.drift,
        r=ranking.r,
        alpha=ranking.alpha,
        de_norm=ranking.de_norm,
        trust=ranking.trust,
    )
