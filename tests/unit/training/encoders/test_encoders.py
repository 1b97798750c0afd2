"""What every encoder promises: shapes, causality, padding invariance, one path for all requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import load_settings
from shared.bundle import load_bundle
from tests.support.encoders import DIM, WINDOW, make_encoder, make_request
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from training.encoders.choice import CONFIGS
from training.encoders.return_mechanism import NO_COPY
from training.export.export import export_bundle
from training.settings import TrainingSettings
from training.train import train

BOTH = pytest.mark.parametrize("backbone", CONFIGS)


@BOTH
@pytest.mark.parametrize("length", [1, 2, 5, WINDOW])
def test_shapes(backbone: str, length: int) -> None:
    e_str, copy_logit = make_encoder(backbone)(*make_request(3, length))
    assert e_str.shape == (3, DIM)
    assert copy_logit.shape == (3, length)
    assert torch.isfinite(e_str).all()
    assert torch.isfinite(copy_logit).all()


@BOTH
def test_the_request_path_equals_the_last_place_of_the_training_path(backbone: str) -> None:
    model, request = make_encoder(backbone), make_request(4, 9)
    e_str, copy_logit = model(*request)
    all_e_str, all_copy = model.encode(*request)
    torch.testing.assert_close(e_str, all_e_str[:, -1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(copy_logit, all_copy[:, -1], rtol=1e-5, atol=1e-5)


@BOTH
def test_every_place_equals_the_request_made_at_the_next_event(backbone: str) -> None:
    """Training on all places at once teaches exactly what a device computes later."""
    model = make_encoder(backbone)
    vectors, age, hour, request_hour = make_request(2, 7)
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    moments = torch.cat([hour, request_hour[:, None]], 1)
    ages = torch.cat([age, torch.zeros(2, 1)], 1)
    for n in range(1, 8):
        then = ages[:, n : n + 1]  # the request is made when event n happens
        e_n, copy_n = model(vectors[:, :n], age[:, :n] - then, hour[:, :n], moments[:, n])
        torch.testing.assert_close(e_n, e_str[:, n - 1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(copy_n, copy_logit[:, n - 1, :n], rtol=1e-4, atol=1e-4)


@BOTH
@pytest.mark.parametrize("returns", [True, False])
def test_later_items_and_times_do_not_reach_earlier_places(backbone: str, returns: bool) -> None:
    model = make_encoder(backbone, return_mechanism=returns)
    vectors, age, hour, request_hour = make_request(2, 8)
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    place = 4  # its request is made at event 5, whose time it may know but whose item it may not
    vectors, age, hour = vectors.clone(), age.clone(), hour.clone()
    vectors[:, place + 1 :] = 9.0
    age[:, place + 2 :], hour[:, place + 2 :] = 0.0, 3.0
    e_changed, copy_changed = model.encode(vectors, age, hour, request_hour + 1.0)
    torch.testing.assert_close(e_changed[:, : place + 1], e_str[:, : place + 1])
    torch.testing.assert_close(copy_changed[:, : place + 1], copy_logit[:, : place + 1])
    assert not torch.allclose(e_changed[:, place + 1], e_str[:, place + 1])
    assert (copy_logit[:, place, place + 1 :] == NO_COPY).all()
    assert (copy_logit[:, place, : place + 1] != NO_COPY).all() == returns


@BOTH
def test_padding_on_the_right_changes_nothing(backbone: str) -> None:
    model = make_encoder(backbone)
    lengths = [3, 7, 5]
    requests = [make_request(1, n) for n in lengths]
    vectors, age, hour = torch.full((3, 7, DIM), 5.0), torch.zeros(3, 7), torch.zeros(3, 7)
    for row, (n, (v, a, h, now)) in enumerate(zip(lengths, requests, strict=True)):
        vectors[row, :n], age[row, :n], hour[row, :n], hour[row, n:] = v[0], a[0], h[0], now[0]
    request_hour = torch.cat([request[3] for request in requests])
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    for row, (n, request) in enumerate(zip(lengths, requests, strict=True)):
        e_single, copy_single = model(*request)
        torch.testing.assert_close(e_str[row, n - 1], e_single[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(copy_logit[row, n - 1, :n], copy_single[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", first_quick(name for name in CONFIGS if name != "sasrec"))
def test_a_bundle_carries_it_and_its_graphs_agree(backbone: str, tmp_path: Path) -> None:
    settings = load_settings(
        work_dir=tmp_path / "runs",
        cache=tmp_path / "cache",
        profile={"window": 6, "local_candidates": 0},
        cloud={"candidates": 10},
        training={
            "backbone": backbone,
            "dim": 16, "epochs": 1, "restart_epochs": 1, "test_steps": 2,
            "abstracts_per_user": 6, "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 5,
            "threads": 1,
        },
    )  # fmt: skip
    trained = asyncio.run(train(settings, drifting_log(), HashingEmbedder(32)))
    residual = trained.calibration.calibrator.residual
    assert residual is not None
    with torch.no_grad():  # a radius that binds: parity must cover the correction
        residual.weight.normal_(generator=torch.Generator().manual_seed(0))
    trained = replace(trained, calibration=replace(trained.calibration, gamma_max=2.0))
    bundle = export_bundle(trained, tmp_path / "bundle", settings, created="now", version="1")
    manifest = load_bundle(bundle.path).manifest
    assert manifest.backbone == backbone
    assert manifest.training["parity_lengths"] == 6
    assert 0 <= manifest.training["parity_max_score_difference"] <= 1e-5


def test_the_setting_names_every_backbone() -> None:
    assert set(get_args(TrainingSettings.model_fields["backbone"].annotation)) == set(CONFIGS)


@BOTH
def test_places_that_are_asked_about_answer_and_learn_as_if_all_were(backbone: str) -> None:
    """Under dropout, too: what is left out changes nothing for the others."""
    request, asked = make_request(3, 9), torch.tensor([0, 4, 8, 13, 26])
    weights = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))

    def learned(places: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        model = make_encoder(backbone, layers=2, dropout=0.3).train()
        torch.manual_seed(5)
        e_str, copy_logit = model.encode(*request, asked=places)
        e_str, copy_logit = (t.flatten(0, 1)[asked] for t in (e_str, copy_logit))
        strong = copy_logit[copy_logit > NO_COPY / 2]
        loss = (e_str * weights).sum() + strong.square().sum()
        model.zero_grad()
        loss.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        return (e_str, copy_logit, *grads)

    of_some, of_all = learned(asked), learned(None)
    assert len(of_some) == len(of_all) > 10
    for some, whole in zip(of_some, of_all, strict=True):
        torch.testing.assert_close(some, whole, rtol=1e-4, atol=1e-4)
