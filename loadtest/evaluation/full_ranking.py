"""Full ranking: every item of the catalogue competes, the embedding is fresh (gap 0).

What each channel is worth by itself and each term of the own score in turn, beside the counters any
recommender must beat.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from device_runtime.ranking.encoded import Encoded
from device_runtime.ranking.fusion import fuse
from device_runtime.ranking.scoring import score_table
from loadtest.evaluation.counters import Counters
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.log_requests import LogRequests, by_user
from loadtest.evaluation.snapshot_source import SnapshotSource
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.evidence_records import FULL, FullRecord, write_records
from loadtest.records.rank_columns import rank_fields
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from shared.split import Steps


def run_full_ranking(
    run_dir: Path,
    log: InteractionLog,
    steps: Steps,
    models: EvaluationModels,
    source: SnapshotSource,
    *,
    half_life: float,
    progress: Progress | None = None,
) -> Path:
    """Rank the target of every step by every scorer into full.parquet; returns its path."""
    requests = LogRequests(log, models)
    counters = Counters(models.item_popularity, half_life)
    rows: list[FullRecord] = []
    with (progress or NullProgress()).task("full ranking", len(steps)) as task:
        for user, own in by_user(steps):
            rows.extend(
                _record(user, step, now, requests, models, source, counters)
                for step, now in requests.encode(user, own)
            )
            task.advance(len(own))
    return write_records(run_dir / FULL, rows, FullRecord)


def _record(
    user: int,
    step: int,
    now: Encoded | None,
    requests: LogRequests,
    models: EvaluationModels,
    source: SnapshotSource,
    counters: Counters,
) -> FullRecord:
    items, table = models.all_items, models.table
    structural = score_table(table, now and replace(now, own=None))
    counted = score_table(table, _wordless(now))
    student = score_table(table, now)
    semantic = table.products(semantic=source.e_sem(user, step))
    fused = fuse(student, semantic, models.manifest.fusion_weight)
    seen, target = requests.history(user, step), requests.target(user, step)
    exclude = models.manifest.repeat_policy == "exclude"
    keep = np.ones(len(items), dtype=bool)
    if exclude:
        keep[seen] = False
    kept = items[keep]
    others = counters.ranks(seen, target, exclude_seen=exclude)
    ranks = {
        "structure": target_rank(kept, structural[keep], target),
        "counts": target_rank(kept, counted[keep], target),
        "student": target_rank(kept, student[keep], target),
        "semantic": target_rank(kept, semantic[keep], target),
        "fused": target_rank(kept, fused[keep], target),
        "popularity": others.popularity,
        "frequency": others.frequency,
        "decayed": others.decayed,
    }
    return FullRecord(
        user=user,
        step=step,
        target=target,
        is_return=bool(np.any(seen == target)),
        last=requests.is_last(user, step),
        **rank_fields(ranks),
    )


def _wordless(now: Encoded | None) -> Encoded | None:
    """The same state, of which its words say nothing."""
    if now is None or now.own is None:
        return now
    return replace(now, own=replace(now.own, query=None))
