"""A run folder with invented records, for tests of what is computed and drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from device_runtime.settings import DeviceSettings
from loadtest.replay.run_info import RunInfo, StageRecord, write_run_info
from loadtest.settings import ReplaySettings
from shared.bundle import EmbedderIdentity
from shared.paper_settings import PaperSettings
from shared.profile import DeviceProfile
from shared.section import printable

GAPS = (0, 5, 10, 20)
N_ITEMS = 1700
N_CANDIDATES = 100


def invent_run(
    folder: Path,
    *,
    seed: int = 0,
    users: int = 40,
    steps: int = 5,
    requests_per_user: int = 10,
    fallback: bool = False,
    terms: str = "Invented data, free of any terms.",
) -> Path:
    """Write run.json and all record files; returns ``folder``."""
    rng = np.random.default_rng(seed)
    write_run_info(folder, invented_info(fallback=fallback, terms=terms))
    keys = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), steps).astype(np.int32),
            "step": np.tile(np.arange(40, 40 + steps), users).astype(np.int32),
            "target": rng.integers(0, N_ITEMS, users * steps).astype(np.int32),
            "is_return": rng.random(users * steps) < 0.3,
            "last": np.tile(np.arange(steps) == steps - 1, users),
        }
    )
    _paper(keys, rng).write_parquet(folder / "paper.parquet")
    _full(keys, rng).write_parquet(folder / "full.parquet")
    requests = _requests(rng, users, requests_per_user)
    requests.write_parquet(folder / "requests.parquet")
    refreshes = _refreshes(requests, rng)
    refreshes.write_parquet(folder / "refreshes.parquet")
    calls = refreshes.filter(pl.col("attempts") > 0)
    calls.select(sent_s="started_s").write_parquet(folder / "attempts.parquet")
    return folder


def invented_info(*, fallback: bool = False, terms: str = "") -> RunInfo:
    """run.json of the invented run."""
    return RunInfo(
        started="2026-01-02T03:04:05+00:00",
        log={"log": "invented", "users": "40", "items": f"{N_ITEMS:,}", "interactions": "2,000"},
        log_terms=terms,
        log_notes=("12 duplicate rows dropped",),
        bundle_id="0123456789abcdef",
        backbone="SASRec with copy head",
        profile=DeviceProfile(),
        embedder=EmbedderIdentity(
            backend="transformers" if fallback else "vllm",
            model="all-MiniLM-L6-v2",
            pooling="MEAN",
            dim=384,
        ),
        requested_backend="vllm",
        fallback_reason="vLLM is not installed <here>" if fallback else "",
        repeat_policy="allow",
        candidates=N_CANDIDATES,
        fusion_weight=0.8,
        training={"epochs": 12},
        settings={
            "paper": printable(PaperSettings(bootstrap=200)),
            "replay": printable(ReplaySettings()),
            "device": printable(DeviceSettings()),
        },
        stages=(
            StageRecord(name="fetch log", seconds=2.1, reused=True),
            StageRecord(name="train backbone", seconds=181.4),
            StageRecord(name="replay", seconds=90.2),
        ),
        git_revision="abcdef012345",
        versions={"numpy": "2.4.6"},
        machine="Linux x86_64, Python 3.11.7",
    )


def _ranks(rng: np.random.Generator, n: int, scale: float, missing: float = 0.0) -> np.ndarray:
    ranks = 1.0 + np.floor(rng.exponential(scale, n))
    return np.where(rng.random(n) < missing, np.inf, ranks)


def _paper(keys: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    n = keys.height
    tables = []
    difficulty = rng.lognormal(0, 1.0, n)
    for setting in ("S1", "S2"):
        for gap in GAPS:
            missing = rng.random(n) < (0.25 if setting == "S1" else 0.25 + 0.01 * gap)

            def rank(
                base: float, difficulty: np.ndarray = difficulty, missing: np.ndarray = missing
            ) -> np.ndarray:
                own = np.floor(1 + base * difficulty * rng.uniform(0.7, 1.3, n))
                return np.where(missing, np.inf, np.minimum(own, N_CANDIDATES))

            stale = 0.4 * np.sqrt(gap)
            alpha = np.clip(rng.normal(0.02 * gap, 0.05, n), 0, 1)
            tables.append(
                keys.with_columns(
                    setting=pl.lit(setting),
                    gap=pl.lit(gap, pl.Int32),
                    n_candidates=pl.lit(N_CANDIDATES, pl.Int32),
                    rank_calibrated=rank(3 + 0.5 * stale),
                    rank_uncalibrated=rank(3 + stale),
                    rank_structure=rank(3.6),
                    rank_semantic=rank(5 + 2 * stale),
                    delta=pl.lit(gap, pl.Int32),
                    omega=rng.uniform(-1, 1, n),
                    drift=rng.uniform(0, 2, n),
                    r=1 - alpha,
                    alpha=alpha,
                    de_norm=2 * alpha,
                    trust=np.where(alpha > 0.1, 0.75, 1.0),
                )
            )
    return pl.concat(tables)


def _full(keys: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    n = keys.height
    scales = {
        "structure": 14.0, "counts": 13.0, "student": 12.0, "semantic": 30.0, "fused": 11.0,
        "popularity": 90.0, "frequency": 40.0, "decayed": 30.0,
    }  # fmt: skip
    return keys.with_columns(
        **{f"rank_{name}": _ranks(rng, n, scale) for name, scale in scales.items()}
    )


def _requests(rng: np.random.Generator, users: int, per_user: int) -> pl.DataFrame:
    n = users * per_user
    scheduled = np.sort(rng.uniform(0, 90, n))
    local = (scheduled < 4) & (rng.random(n) < 0.8)
    service = rng.lognormal(0.6, 0.3, n)
    queued = service + np.where(rng.random(n) < 0.03, rng.exponential(8, n), 0.02)
    phase = scheduled % 30
    up = phase < 20
    age = np.where(local, np.nan, np.where(up, rng.exponential(3, n), phase - 20 + 3))
    delta = np.where(local, -1, np.minimum(np.floor(np.nan_to_num(age)), 14)).astype(np.int32)
    answered = _ranks(rng, n, 12.0, 0.1)
    return pl.DataFrame(
        {
            "user": rng.permutation(np.repeat(np.arange(users), per_user)).astype(np.int32),
            "step": np.arange(n, dtype=np.int32),
            "target": rng.integers(0, N_ITEMS, n).astype(np.int32),
            "is_return": rng.random(n) < 0.3,
            "scheduled_s": scheduled,
            "started_s": scheduled + (queued - service) / 1e3,
            "finished_s": scheduled + queued / 1e3,
            "latency_scheduled_ms": queued,
            "latency_service_ms": service,
            "source": np.where(local, "local", "snapshot"),
            "rank": answered,
            "rank_uncalibrated": np.where(rng.random(n) < 0.2, answered + 2, answered),
            "rank_structure": _ranks(rng, n, 13.0, 0.1),
            "rank_alone": _ranks(rng, n, 15.0, 0.1),
            "rank_popularity": _ranks(rng, n, 90.0),
            "rank_frequency": _ranks(rng, n, 40.0),
            "rank_decayed": _ranks(rng, n, 30.0),
            "n_candidates": np.full(n, 130, dtype=np.int32),
            "delta": delta,
            "omega": rng.uniform(-1, 1, n),
            "drift": rng.uniform(0, 1, n),
            "r": rng.uniform(0.5, 1, n),
            "alpha": rng.uniform(0, 0.5, n),
            "de_norm": rng.uniform(0, 1, n),
            "trust": np.where(local, np.nan, 1.0),
            "snapshot_version": np.where(local, 0, 7).astype(np.uint64),
            "snapshot_tau": np.where(local, -1, 30).astype(np.int32),
            "snapshot_age_s": age,
            "breaker": np.where(~up & (rng.random(n) < 0.6), "open", "closed"),
            "cloud_up": up,
        }
    )


def _refreshes(requests: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    asked = requests.filter(pl.Series(rng.random(requests.height) < 0.25))
    n = asked.height
    up = asked["cloud_up"].to_numpy()
    outcome = np.where(
        up,
        np.where(rng.random(n) < 0.05, "refused", "fresh"),
        np.where(asked["breaker"].to_numpy() == "open", "breaker", "network"),
    )
    latency = np.where(outcome == "breaker", 0.05, rng.lognormal(4, 0.5, n))
    # One refresh falls into the warm-up.
    started = np.where(np.arange(n) == 0, -0.5, asked["scheduled_s"].to_numpy())
    return pl.DataFrame(
        {
            "user": asked["user"],
            "step": asked["step"],
            "started_s": started,
            "finished_s": started + latency / 1e3,
            "outcome": outcome,
            "attempts": np.where(outcome == "breaker", 0, rng.integers(1, 3, n)).astype(np.int32),
            "request_bytes": np.where(outcome == "breaker", 0, 620).astype(np.int64),
            "response_bytes": np.where(outcome == "fresh", 1290, 0).astype(np.int64),
            "latency_ms": latency,
            "tau": asked["step"],
            "version": np.arange(n, dtype=np.uint64),
            "cloud_up": up,
        }
    )
