from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import DataError
from shared.split import split_log
from tests.support.logs import KINDS, drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.calibration.fit import (
    CalibrationFit,
    FittedCalibration,
    fit_calibration,
)
from training.calibration.inputs import Inputs
from training.calibration.judge import Judge
from training.calibration.lessons import Material
from training.calibration.networks import PAPER_INPUTS
from training.calibration.options import CalibrationOptions
from training.calibration.pairs import Pairs, pairs_at_gap, training_pairs
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import merge, stale_anchors, training_anchors
from training.semantic.own_terms import OwnTerms
from training.semantic.requests import Requests, make_requests
from training.stages.calibration import CALIBRATION

DIM = 8
GAPS = (0, 5, 10)
QUICK = CalibrationOptions(
    epochs=15,
    patience=15,
    batch_size=32,
    learning_rate=5e-3,
    dropout=0.0,
    lambda_reg=0.0,
    candidates=20,
    top_l=10,
    window=6,
    unite_history=False,
    exclude_seen=False,
)


def make() -> tuple[Requests, torch.Tensor, Pairs, dict[int, Pairs]]:
    """e_sem points at the kind the user wants now; e_str says it too, but not in item scores."""
    log = drifting_log(users=40, events=40)
    split = split_log(log, test_steps=2)
    trained_on = training_anchors(split, 12)
    anchors = merge(trained_on, stale_anchors(split.validation(), GAPS))
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=6, return_mechanism=False)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    kinds = torch.eye(4)[torch.arange(len(log.catalogue)) % len(KINDS)]
    with torch.no_grad():
        table.vectors.mul_(0.1)
        table.vectors[:, :4] += kinds
        table.vectors[:, 4:] = 0.1 * torch.randn(len(log.catalogue), 4)
    requests = make_requests(model, table, events_of(log).keep_first(split.test_start), anchors)
    wanted = torch.eye(4)[requests.target % len(KINDS)]
    e_sem = torch.cat([3.0 * wanted, 0.1 * torch.randn(len(anchors), 4)], 1)
    requests.e_str[:, :4] = 0.0
    requests.e_str[:, 4:] = wanted
    rows = anchors.find(trained_on.user, trained_on.tau)
    validation = {gap: pairs_at_gap(anchors, split.validation(), gap) for gap in GAPS}
    return requests, e_sem, training_pairs(anchors, rows), validation


def fitted_on(
    requests: Requests,
    e_sem: torch.Tensor,
    training: Pairs,
    validation: dict[int, Pairs],
    fusion_weight: float,
    options: CalibrationOptions,
    **how: int,
) -> FittedCalibration:
    materials = [Material(requests, e_sem, training)]
    return fit_calibration(requests, e_sem, materials, validation, fusion_weight, options, **how)


def learner(
    requests: Requests, e_sem: torch.Tensor, training: Pairs, options: CalibrationOptions
) -> CalibrationFit:
    return CalibrationFit([Material(requests, e_sem, training)], 1.0, options, 0)


def test_recovers_what_staleness_cost() -> None:
    requests, e_sem, training, validation = make()
    fitted = fitted_on(requests, e_sem, training, validation, 1.0, QUICK, threads=1)
    assert fitted.helped
    assert fitted.gamma_max == pytest.approx(4.0 * e_sem.norm(dim=1).mean().item(), rel=0.05)
    for gap in (5, 10):
        at = fitted.gaps[gap]
        assert at.fresh > at.stale + 0.05
        assert at.calibrated > at.stale + 0.5 * (at.fresh - at.stale)
    assert 0 < fitted.mean_reliability_target < 1


def test_words_tell_what_no_other_cue_does() -> None:
    """The device's words say what is wanted now: whether the snapshot still does, they show."""
    requests, e_sem, training, validation = make()
    said = requests.equipped(requests.semantics, OwnTerms(text=e_sem.clone(), text_weight=0.0))
    blind, reading = (
        fitted_on(
            said,
            e_sem,
            training,
            validation,
            1.0,
            QUICK.model_copy(update={"words_cue": words, "epochs": 6, "severity": "kl"}),
            threads=1,
        )
        for words in (False, True)
    )
    assert blind.estimator.inputs == ("cues",)
    (inputs,) = learner(said, e_sem, validation[5], QUICK).known
    same = torch.nn.functional.cosine_similarity(inputs.stale, e_sem[validation[5].fresh]) > 0.5
    assert same.any()
    assert not same.all()
    apart = [
        (r[same].mean() - r[~same].mean()).item()
        for r in (inputs.reliability(fitted.estimator).detach() for fitted in (blind, reading))
    ]
    assert apart[1] > apart[0] + 0.1
    # Where devices have no student there is nothing to read.
    plain = QUICK.model_copy(update={"words_cue": True})
    assert learner(requests, e_sem, training, plain).estimator.inputs == ("cues",)
    with pytest.raises(ValueError, match="made without any"):
        Inputs(inputs.cues, inputs.stale, inputs.parts).reliability(reading.estimator)


def test_never_worse_than_leaving_the_snapshot_alone() -> None:
    requests, e_sem, training, validation = make()
    # Nothing can be learnt in one epoch at this rate, and what is learnt is noise.
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(e_sem.shape, generator=rng)
    wild = QUICK.model_copy(
        update={"epochs": 1, "learning_rate": 1.0, "gamma_max": 100.0, "age_rules": False}
    )
    fitted = fitted_on(requests, noise, training, validation, 1.0, wild, threads=1)
    before = np.mean([at.stale for at in fitted.gaps.values()])
    after = np.mean([at.calibrated for at in fitted.gaps.values()])
    assert after >= before
    if not fitted.helped:
        assert fitted.gamma_max == 0.0
        assert fitted.best_epoch == 0
        assert all(at.calibrated == at.stale for at in fitted.gaps.values())


def test_the_best_trained_epoch_is_kept_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, e_sem, training, validation = make()
    wild = QUICK.model_copy(update={"epochs": 1, "estimator": "fixed"})
    with monkeypatch.context() as patch:
        # As if old snapshots were perfect: no epoch is better than leaving them alone.
        patch.setattr(Judge, "stale", lambda judge: dict.fromkeys(judge.pairs, 1.0))
        fitted = fitted_on(requests, e_sem, training, validation, 1.0, wild, threads=1)
    assert not fitted.helped
    (inputs,) = learner(requests, e_sem, validation[5], wild).known
    unruled = fitted.unruled(inputs)
    assert torch.equal(fitted.correct(inputs)[0], inputs.stale)
    assert not torch.isclose(unruled, inputs.stale).all()
    CALIBRATION.save(fitted, tmp_path)
    again = CALIBRATION.load(tmp_path)
    assert torch.equal(again.unruled(inputs), unruled)
    assert torch.equal(again.correct(inputs)[0], inputs.stale)
    # One that helped is the device's own.
    helped = fitted_on(requests, e_sem, training, validation, 1.0, QUICK, threads=1)
    assert helped.helped
    assert helped.tried is None
    assert torch.equal(helped.unruled(inputs), helped.correct(inputs)[0])


def test_without_a_radius_there_is_nothing_to_keep() -> None:
    requests, e_sem, training, validation = make()
    still = QUICK.model_copy(update={"epochs": 2, "gamma_max": 0.0, "age_rules": False})
    fitted = fitted_on(requests, e_sem, training, validation, 1.0, still, threads=1)
    assert not fitted.helped
    assert fitted.gamma_max == 0.0
    assert all(at.calibrated == at.stale for at in fitted.gaps.values())


def test_rules_lose_to_nothing_that_they_choose_from() -> None:
    requests, e_sem, training, validation = make()
    rng = torch.Generator().manual_seed(0)
    for embedding in (e_sem, torch.randn(e_sem.shape, generator=rng)):
        short = QUICK.model_copy(update={"epochs": 2, "rule_margin": 0.0})
        fitted = fitted_on(requests, embedding, training, validation, 1.0, short, threads=1)
        assert [rule.from_delta for rule in fitted.rules] == [0, 1, 8]
        for gap, at in fitted.gaps.items():
            assert at.calibrated >= (at.stale if gap == 0 else max(at.stale, at.own)) - 1e-12
        assert fitted.rules[0].at(False) == fitted.rules[0].at(True) == (1.0, False)
        assert not any(rule.correct or rule.moved_correct for rule in fitted.discount)


def test_a_fresh_snapshot_has_nothing_to_recover() -> None:
    requests, e_sem, training, validation = make()
    short = QUICK.model_copy(update={"epochs": 1})
    at = fitted_on(requests, e_sem, training, validation, 1.0, short, threads=1).gaps[0]
    assert at.fresh == at.stale


def test_without_a_semantic_channel_nothing_is_learned() -> None:
    requests, e_sem, training, validation = make()
    fitted = fitted_on(requests, e_sem, training, validation, 0.0, QUICK, threads=1)
    assert not fitted.helped
    assert all(at.calibrated == at.stale == at.own for at in fitted.gaps.values())


def weights(fitted: FittedCalibration) -> torch.Tensor:
    parameters = [*fitted.estimator.parameters(), *fitted.calibrator.parameters()]
    return torch.cat([p.detach().flatten() for p in parameters])


def test_same_seed_same_weights() -> None:
    requests, e_sem, training, validation = make()
    short = QUICK.model_copy(update={"epochs": 2, "dropout": 0.2})
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(runs))  # the caller's generator must not matter
        fitted = fitted_on(requests, e_sem, training, validation, 1.0, short, seed=seed, threads=1)
        runs.append(weights(fitted))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_validation_targets_do_not_train() -> None:
    requests, e_sem, training, _ = make()
    short = QUICK.model_copy(update={"epochs": 1, "patience": 1})
    first = fitted_on(requests, e_sem, training, {}, 1.0, short, seed=0, threads=1)
    rows = np.unique(np.concatenate([training.fresh, training.stale]))
    outside = np.setdiff1d(np.arange(len(requests)), rows)
    e_sem[outside] = 9.0
    requests.e_str[outside] = 9.0
    requests.target[outside] = 0
    second = fitted_on(requests, e_sem, training, {}, 1.0, short, seed=0, threads=1)
    assert torch.equal(weights(first), weights(second))


def test_lessons_of_several_models_are_learned_together() -> None:
    """Users in two halves, each as other models see them: all of it is met, in mixed order."""
    requests, e_sem, training, validation = make()
    half = requests.anchors.user[training.fresh] % 2 == 0
    other = dataclasses.replace(requests, e_str=requests.e_str + 0.5)
    both = [
        Material(requests, e_sem, training[np.flatnonzero(half)]),
        Material(other, 2.0 * e_sem, training[np.flatnonzero(~half)]),
    ]
    fit = CalibrationFit(both, 1.0, QUICK, 0)
    first, second = fit.known
    assert torch.equal(second.parts[1], other.e_str[torch.from_numpy(both[1].pairs.fresh)])
    mean = torch.cat([first.cues, second.cues]).mean(0)
    torch.testing.assert_close(fit.estimator.mean, mean)
    length = torch.cat([first.stale, second.stale]).norm(dim=1).mean()
    assert fit.radius == pytest.approx(4.0 * length.item())
    batches = fit._batches()
    numbers = [number for number, _ in batches]
    assert numbers != sorted(numbers)
    for number, one in enumerate(fit.lessons):
        at = np.concatenate([places for n, places in batches if n == number])
        np.testing.assert_array_equal(np.sort(one.pairs.fresh[at]), np.unique(one.pairs.fresh))
    assert np.isfinite(fit.learn(1, lambda _: None))
    short = QUICK.model_copy(update={"epochs": 1})
    one, two = (
        fit_calibration(requests, e_sem, materials, validation, 1.0, short, threads=1)
        for materials in (both, both[:1])
    )
    assert not torch.equal(weights(one), weights(two))


def test_nothing_to_train_on_and_divergence_are_errors() -> None:
    requests, e_sem, training, validation = make()
    with pytest.raises(DataError, match="stale pair"):
        fitted_on(requests, e_sem, training[np.empty(0, int)], validation, 1.0, QUICK)
    e_sem[training.fresh[0]] = torch.nan
    with pytest.raises(DataError, match="diverged"):
        fitted_on(requests, e_sem, training, validation, 1.0, QUICK)


@pytest.mark.parametrize("severity", ["kl", "quantile"])
def test_the_papers_method_learns_of_either_list_and_nothing_else(severity: str) -> None:
    requests, e_sem, training, _ = make()
    # In its variant nothing that the device adds to a list is learned of, whatever it ranks.
    paper = QUICK.model_copy(
        update={
            "proposal": "paper", "gate": False, "label_weight": 0.0, "severity": severity,
            "candidates": 5, "unite_history": True,
        }
    )  # fmt: skip
    whole = learner(requests, e_sem, training, paper)
    (fit,), (known,) = whole.lessons, whole.known
    pairs, at = fit.pairs, np.flatnonzero(fit.pairs.fresh != fit.pairs.stale)
    items, valid, structural = fit.ranked(at)
    drawn = fit.candidates[torch.from_numpy(fit.listed[at])].sort(dim=1).values
    assert valid.all()
    assert torch.equal(items, drawn)
    assert torch.equal(structural, requests.structural_of(torch.from_numpy(pairs.fresh[at]), items))
    fresh = fit.listed[at] == pairs.fresh[at]
    assert (fit.listed[at][~fresh] == pairs.stale[at][~fresh]).all()
    assert 0.4 < fresh.mean() < 0.6, "S1 and S2 alike"
    # Of that very list is the omega that the estimator reads.
    again = fit.inputs(pairs, PAPER_INPUTS, fit.listed)
    assert torch.equal(known.cues, again.cues)
    assert not torch.equal(known.cues, fit.inputs(pairs, PAPER_INPUTS).cues)
    assert np.isfinite(whole.learn(0, lambda _: None))


@pytest.mark.parametrize("update", [{"label_weight": 0.5}, {"proposal": "context"}])
def test_other_methods_learn_of_both_lists_and_of_the_own_history(
    update: dict[str, object],
) -> None:
    requests, e_sem, training, _ = make()
    plain = {"proposal": "paper", "label_weight": 0.0, "candidates": 5, "unite_history": True}
    options = QUICK.model_copy(update=plain | update)
    (fit,) = learner(requests, e_sem, training, options).lessons
    at = np.arange(0, len(fit.pairs), 7)
    items, valid, _ = fit.ranked(at)
    for fresh, stale, some, counts in zip(
        fit.pairs.fresh[at], fit.pairs.stale[at], items, valid, strict=True
    ):
        wanted = {*fit.candidates[fresh].tolist(), *fit.candidates[stale].tolist()}
        wanted |= set(requests.history[fresh].tolist())
        if options.label_weight:
            wanted.add(int(requests.target[fresh]))
        assert set(some[counts].tolist()) == wanted
