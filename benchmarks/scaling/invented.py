"""Invented logs of any size, and a small model that is trained on one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl

from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.jobs.exporting import exported
from scalrec.settings import load_settings
from shared.bundle import Bundle
from shared.interactions import Catalogue, InteractionLog
from shared.progress import NullProgress
from training.backbone.batches import Events
from training.train import train

EVENTS = 50  # of each user
TEXT_DIM = 64
START_S, DAY_S = 1.6e9, 86_400.0
HASHING = f"hashing-{TEXT_DIM}"
_KINDS = ("drama", "comedy", "thriller", "documentary")


def columns(users: int, items: int, events: int = EVENTS) -> dict[str, np.ndarray]:
    """user, item and time [users * events]; items by popularity, as Zipf's law has it."""
    rng = np.random.default_rng(0)
    n = users * events
    # The inverse of the distribution of 1 / rank, so that no weights of all items are needed.
    rank = np.exp(rng.random(n) * np.log(items + 1.0)).astype(np.int64) - 1
    gaps = rng.exponential(DAY_S / 4, (users, events))
    time_s = START_S + np.round(np.cumsum(gaps, axis=1) + rng.uniform(0, DAY_S, (users, 1)))
    return {
        "user": np.repeat(np.arange(users), events),
        "item": np.clip(rank, 0, items - 1),
        "time": time_s.astype(np.int64).ravel(),
    }


def invented_log(users: int, items: int, events: int = EVENTS) -> InteractionLog:
    """A log of these columns."""
    told = columns(users, items, events)
    return InteractionLog(
        name="invented",
        user=told["user"].astype(np.int32),
        item=told["item"].astype(np.int32),
        time=told["time"].astype(np.float64),
        utc_offset_min=None,
        query=None,
        user_ids=tuple(f"u{n}" for n in range(users)),
        catalogue=Catalogue(
            ids=tuple(f"i{n}" for n in range(items)),
            titles=tuple(f"title {n}" for n in range(items)),
            categories=tuple((_KINDS[n % 4],) for n in range(items)),
            areas=("",) * items,
            texts=tuple(f"title {n}: {_KINDS[n % 4]}" for n in range(items)),
        ),
    )


def invented_events(users: int, items: int, events: int = EVENTS) -> Events:
    """The same as columns of the backbone, without a catalogue."""
    told = columns(users, items, events)
    hours = ((told["time"] / 3600.0) % 168.0).astype(np.float32)
    start = np.arange(users + 1, dtype=np.int64) * events
    return Events(told["item"], hours, start, told["time"].astype(np.float64))


def written_log(path: Path, users: int, items: int, events: int = EVENTS) -> Path:
    """The same as a csv file, its rows in the order of time, as logs are written."""
    pl.DataFrame(columns(users, items, events)).sort("time").write_csv(path)
    return path


def trained_bundle(folder: Path, *, candidates: int) -> Bundle:
    """The bundle, for the usual device, of a small model that has seen each batch once.

    Args:
        folder: where its stages and the bundle are kept, and found again.
    """
    settings = load_settings(
        work_dir=folder,
        cache=folder / "cache",
        cloud={"candidates": candidates},
        embedder={"backend": "hashing", "model": HASHING},
        training={
            "epochs": 1, "restart_epochs": 0, "abstracts_per_user": 2, "semantic_epochs": 1,
            "calibration_epochs": 1, "threads": 1, "test_steps": 3, "calibration_steps": 2,
        },
    )  # fmt: skip
    log = invented_log(users=24, items=2 * candidates, events=30)

    async def made() -> Bundle:
        trained = await train(settings, log, HashingEmbedder(TEXT_DIM))
        bundle, _ = await exported(trained, settings, NullProgress())
        return bundle

    return asyncio.run(made())
