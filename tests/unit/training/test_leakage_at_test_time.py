"""What scores a test request has seen nothing of its target or of anything later.

Two logs that agree up to the request, and in its own moment, have to give it the same features.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from device_runtime.ranking.encoded import Encoded
from experiments.studies.scalrec.scores import Scores
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.log_requests import LogRequests
from loadtest.evaluation.paper import run_paper
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import preset
from shared.split import Steps
from tests.support.bundles import make_bundle
from tests.support.logs import drifting_log
from tests.support.sections import student_weights
from tests.support.staleness import SeededSource
from tests.unit.training.test_leakage import changed_from, with_sessions_and_queries
from training.backbone.batches import events_of, sessions_of
from training.backbone.item_table import ItemParameters
from training.calibration.inputs import Inputs, make_inputs
from training.calibration.networks import CONTEXT_INPUTS, WORDS_INPUT
from training.calibration.pairs import pairs_at_gap
from training.encoders.sasrec import SASRec, SASRecConfig
from training.pools import make_pools
from training.semantic.anchors import stale_anchors
from training.semantic.own_terms import OwnTerms
from training.semantic.requests import Requests, make_requests
from training.student.bags import student_bags
from training.student.fit import embed_bags

USERS, DIM, GAPS = 8, 8, (0, 1, 5, 12)
CASES = ["target and later", "later alone", "before"]
COUNTS = OwnCounts(weight=0.7, scale=2.0, half_life=5.0)
STUDENT = TextStudentSpec(rows=128, weight=0.5)
OWN: dict[str, Any] = {
    "semantic_vectors": "own", "own_counts": COUNTS, "text_student": STUDENT
}  # fmt: skip
INPUTS = (*CONTEXT_INPUTS, WORDS_INPUT)
OUTCOMES = {"target", "is_return"}  # of a record, beside the ranks


def logs_of(case: str, log: InteractionLog, step: NDArray[np.int64]) -> InteractionLog:
    """``log`` changed around each user's request at ``step`` [U], whose moment stays."""
    if case == "before":
        earlier = np.arange(len(log)) < (log.user_start[:-1] + step)[log.user]
        item = np.where(earlier, changed_from(log, step - 1).item, log.item)
        return dataclasses.replace(log, item=item)
    later = changed_from(log, step + 1)
    if case == "later alone":
        return later
    return dataclasses.replace(later, item=changed_from(log, step).item)


def steps_at(step: NDArray[np.int64]) -> Steps:
    return Steps(np.arange(len(step), dtype=np.int32), step.astype(np.int32))


LOGS = {
    "sessions": with_sessions_and_queries(drifting_log(users=USERS, events=30)),
    "breaks": drifting_log(users=USERS, events=30),
    "no times": drifting_log(users=USERS, events=30, has_time=False),
}
STEP = np.array([3, 9, 14, 20, 24, 26, 28, 29])


def study_sees(log: InteractionLog, exclude_seen: bool) -> tuple[Requests, list[Inputs], Scores]:
    """Everything that SCaLRec's study makes of the requests at STEP, from fixed networks."""
    torch.manual_seed(0)
    has_time = log.time is not None
    model = SASRec(SASRecConfig(dim=DIM, layers=2, window=8, has_time=has_time)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    anchors = stale_anchors(steps := steps_at(STEP), GAPS)
    e_sem = torch.randn(len(anchors), DIM)
    candidates = torch.rand(len(anchors), len(log.catalogue)).argsort(1)[:, :12]
    with torch.no_grad():
        requests = make_requests(model, table, events_of(log), anchors, None, sessions_of(log))
        plain = requests
        form, profile = AbstractForm(), preset("tiny")
        bags = student_bags(log, anchors, form, profile, rows=STUDENT.rows)
        said = embed_bags(student_weights(STUDENT.rows, DIM), bags)
        own = OwnTerms(COUNTS, torch.from_numpy(said), STUDENT.weight)
        requests = requests.equipped(torch.randn(len(log.catalogue), DIM), own)
        inputs = [
            make_inputs(
                requests,
                pairs_at_gap(anchors, steps, gap),
                e_sem,
                candidates,
                INPUTS,
                window=8,
                top_l=5,
            )
            for gap in GAPS
        ]
        rows = pairs_at_gap(anchors, steps, 0).fresh
        popularity = np.arange(len(log.catalogue))
        pools = make_pools(requests, rows, preset("tiny"), popularity, exclude_seen=exclude_seen)
        scores = Scores(
            pools,
            requests,
            rows,
            popularity=torch.from_numpy(popularity),
            half_life=20.0,
            plain=plain.structural(torch.from_numpy(rows)),
            second=pools.structural.flip(0),
        )
    return requests, inputs, scores


def features(log: InteractionLog, exclude_seen: bool) -> dict[str, torch.Tensor]:
    requests, inputs, scores = study_sees(log, exclude_seen)
    found = {
        "e_str": requests.e_str,
        "copy_logit": requests.copy_logit,
        "history": requests.history,
        "age": torch.from_numpy(requests.oldest_age_h),
        "own score": scores.structural,
        **scores.counters,
        **scores.alone,
    }
    masks = {"barred": scores.pools.barred, "own": scores.pools.own, "alone": scores.pools.alone()}
    found |= {name: mask for name, mask in masks.items() if mask is not None}
    for gap, these in zip(GAPS, inputs, strict=True):
        named = zip(INPUTS, these.parts, strict=True)
        found |= {f"{name} at {gap}": part for name, part in named}
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", LOGS)
def test_the_study_sees_the_past_alone(name: str, exclude_seen: bool, case: str) -> None:
    log = LOGS[name]
    changed = logs_of(case, log, STEP)
    assert not np.array_equal(log.item, changed.item)
    ours, theirs = features(log, exclude_seen), features(changed, exclude_seen)
    assert ours.keys() == theirs.keys()
    differ = {key for key in ours if not torch.equal(ours[key], theirs[key])}
    if case == "before":  # the comparison would see a leak
        wanted = {"e_str", "structure", "frequency", "decayed_all", "recent at 5", "cues at 5"}
        wanted |= {"own score", "counts", "words", "ensemble_counts", "e_text at 0"}
        assert wanted <= differ
    else:
        assert differ == set()


@pytest.mark.parametrize("policy", ["allow", "exclude"])
@pytest.mark.parametrize("case", CASES)
def test_the_replayed_device_sees_the_past_alone(case: str, policy: str, tmp_path: Path) -> None:
    """Paper mode and full ranking: every recorded cue, and with the same target every rank."""
    log = LOGS["breaks"]
    changed = logs_of(case, log, STEP)
    bundle = make_bundle(
        tmp_path / "bundle",
        n_items=len(log.catalogue),
        repeat_policy=policy,  # type: ignore[arg-type]
        **OWN,
    )
    models = EvaluationModels.load(bundle)
    source, steps = SeededSource(models), steps_at(STEP)
    differ = set()
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    for run in (
        lambda where, log: run_paper(where, log, steps, models, source, gaps=GAPS),
        lambda where, log: run_full_ranking(where, log, steps, models, source, half_life=20.0),
    ):
        ours = pl.read_parquet(run(tmp_path / "ours", log))
        theirs = pl.read_parquet(run(tmp_path / "theirs", changed))
        differ |= {name for name in ours.columns if not ours[name].equals(theirs[name])}
    of_target = {name for name in differ if name in OUTCOMES or name.startswith(("rank_", "tied_"))}
    if case == "later alone":
        assert differ == set()
    elif case == "target and later":
        assert differ == of_target
        assert "target" in differ
    else:
        assert {"drift", "omega", "r"} <= differ


def terms_of(encoded: Encoded) -> tuple[NDArray[Any], ...]:
    """What own counts and the text student say, all of it."""
    own = encoded.own
    assert own is not None
    assert own.e_text is not None
    return own.items, own.bonus, own.e_text


@pytest.mark.parametrize("name", LOGS)
def test_requests_are_replayed_from_the_past_alone(name: str, tmp_path: Path) -> None:
    log = LOGS[name]
    changed = logs_of("target and later", log, STEP)
    has_time = log.time is not None
    bundle = make_bundle(tmp_path / "bundle", n_items=len(log.catalogue), has_time=has_time, **OWN)
    models = EvaluationModels.load(bundle)
    one, two = LogRequests(log, models), LogRequests(changed, models)
    for user, step in enumerate(STEP.tolist()):
        assert one.target(user, step) != two.target(user, step)
        asked = range(1, step + 1)
        for (t, ours), (_, theirs) in zip(
            one.encode(user, asked), two.encode(user, asked), strict=True
        ):
            np.testing.assert_array_equal(one.history(user, t), two.history(user, t))
            assert repr(one.context(user, t)) == repr(two.context(user, t))  # a NaN is not itself
            assert ours is not None
            assert theirs is not None
            np.testing.assert_array_equal(ours.e_str, theirs.e_str)
            np.testing.assert_array_equal(ours.copy_logit, theirs.copy_logit)
            for mine, other in zip(terms_of(ours), terms_of(theirs), strict=True):
                np.testing.assert_array_equal(mine, other)
        ages = dict.fromkeys(asked, GAPS)
        assert list(map(repr, one.lapses(user, ages))) == list(map(repr, two.lapses(user, ages)))
