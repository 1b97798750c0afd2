"""Strata: every target is in exactly one, by how often training saw it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from experiments.selection import STRATA
from experiments.studies.scalrec.extras import strata_shares
from experiments.studies.scalrec.scores import StepRanks, aggregate, strata_of
from shared.metrics import as_ranks
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import stale_anchors
from training.semantic.requests import make_requests

LOG = drifting_log(users=6, events=20)
COUNTS = np.array([0, 1, 5, 6, 20, 21, 100, 101, 5000], dtype=np.float32)


@pytest.fixture(scope="module")
def ranks() -> StepRanks:
    """Test steps of a log, with ranks 1, 2, ... under two settings."""
    torch.manual_seed(0)
    split = split_log(LOG, test_steps=5)
    anchors = stale_anchors(split.test(), ())
    model = SASRec(SASRecConfig(dim=8, layers=1, window=8, has_time=True)).eval()
    table = ItemParameters(len(LOG.catalogue), 8)
    requests = make_requests(model, table, events_of(LOG), anchors)
    rows = np.arange(len(anchors))
    popularity = np.resize(COUNTS, len(LOG.catalogue))
    found = StepRanks(requests, rows, split.test_stop, popularity)
    for setting in ("S1", "S2"):
        found.add(setting, 5, "structure", as_ranks(rows + 1.0))
    return found


def test_a_stratum_holds_its_upper_end() -> None:
    found = [STRATA[place] for place in strata_of(COUNTS)]
    assert found == [
        *("trained_0", "trained_1_5", "trained_1_5", "trained_6_20", "trained_6_20"),
        *("trained_21_100", "trained_21_100", "trained_over_100", "trained_over_100"),
    ]


def test_targets_are_told_apart_by_their_training_counts(ranks: StepRanks) -> None:
    parts = ranks.parts()
    np.testing.assert_array_equal(sum(parts[name].astype(int) for name in STRATA), 1)
    step = LOG.user_start[ranks.user] + np.tile(np.arange(15, 20), 6)
    met = np.resize(COUNTS, len(LOG.catalogue))[LOG.item[step]]
    np.testing.assert_array_equal(parts["trained_0"], met == 0)
    np.testing.assert_array_equal(parts["trained_6_20"], (met > 5) & (met <= 20))
    np.testing.assert_array_equal(parts["trained_over_100"], met > 100)
    shares = strata_shares(ranks)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["share_trained_0"] == np.mean(met == 0)


def test_the_strata_of_a_setting_sum_up_to_all_of_it(ranks: StepRanks) -> None:
    scores = aggregate(ranks).filter(~pl.col("loo"))
    for setting, wanted in (("S1", {"all", "return", "discovery", *STRATA}), ("S2", {"all"})):
        here = scores.filter(pl.col("setting") == setting)
        assert set(here["part"]) <= wanted
        if setting == "S2":  # the paper's: kept as small as it was
            continue
        assert len(set(here["part"]) & set(STRATA)) > 2
        for name in ("n", "ndcg10", "hr10"):
            whole = here.filter(pl.col("part") == "all")[name].sum()
            strata = here.filter(pl.col("part").is_in(STRATA))[name].sum()
            assert strata == pytest.approx(whole)
