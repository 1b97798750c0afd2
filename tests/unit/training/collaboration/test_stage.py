"""What a bundle with a generator says of collaboration: chosen on validation, by one rule."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.ranking.list_fusion import fused
from scalrec.settings import Settings, load_settings
from shared.bundle import CollaborationSpec, load_bundle
from shared.errors import DataError
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.collaboration import stage as collaboration
from training.collaboration.asked import Lists, requests_of_validation
from training.collaboration.reranking import ALPHAS, Reranker
from training.collaboration.srm import EncoderSrm
from training.collaboration.stage import SAVED, choose_spec
from training.export.export import export_bundle
from training.train import train
from training.trained import TrainedModel

LENGTH, LATE = 8, 2
PLACE = (LENGTH, LATE)
LOG = drifting_log(users=24, events=12, items=30, returns=True)


def settings_of(folder: Path, **sections: Any) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 6, "local_candidates": 0},
        training={
            "dim": 8, "layers": 1, "epochs": 2, "restart_epochs": 0, "test_steps": 2,
            "validation_steps": 1, "abstracts_per_user": 2, "semantic_epochs": 1,
            "calibration_epochs": 1, "top_l": 5, "threads": 1,
        },
        generative={"epochs": 2, "codes": 4, "history": 5},
        cloud={"candidates": LENGTH, "candidates_from": "generative"} | sections.pop("cloud", {}),
        **sections,
    )  # fmt: skip


def trained(settings: Settings) -> TrainedModel:
    torch.set_num_threads(1)
    return asyncio.run(train(settings, LOG, HashingEmbedder(32)))


def held_out(settings: Settings, model: TrainedModel) -> Reranker:
    """Validation requests with the lists that the generator writes for them."""
    asked = requests_of_validation(events_of(LOG), model.split, settings.lsc4rec)
    assert model.generator is not None
    lists = Lists(*model.generator.candidate_lists(asked.known_at(LATE), LENGTH))
    srm = EncoderSrm(model.backbone.model, model.backbone.table)
    return Reranker(
        srms={"independent": srm},
        asked=asked,
        lists={LATE: lists},
        chosen=settings.lsc4rec,
        exclude_seen=False,
    )


def test_a_bundle_carries_what_validation_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collaboration, "ADAPTIVE_STEPS", 3)
    monkeypatch.setattr(collaboration, "ADAPTIVE_TRANSITIONS", 2)
    settings = settings_of(tmp_path)
    model = trained(settings)
    held = held_out(settings, model)
    chosen = choose_spec(held, PLACE, settings.lsc4rec)
    assert model.collaboration == chosen.spec
    spec = chosen.spec
    assert (spec.adaptation_steps, spec.adaptation_transitions) == (3, 2)
    if spec.adaptation_rate == 0.0:
        rerank, initial = held.plain("independent", PLACE), held.initial(PLACE)
        by_share = [held.ndcg10(fused(initial, rerank, share), PLACE) for share in ALPHAS]
        assert spec.initial_share == ALPHAS[int(np.argmax(by_share))]
        assert model.figures["collaboration_validation_ndcg10"] == pytest.approx(max(by_share))
    again = trained(settings)
    assert "collaboration" in again.reused
    assert again.collaboration == spec
    bundle = export_bundle(model, tmp_path / "bundle", settings, created="2024", version="1")
    assert load_bundle(bundle.path).manifest.collaboration == spec
    assert load_bundle(bundle.path, device=True).manifest.collaboration == spec


@pytest.mark.slow
def test_without_a_generator_nothing_is_chosen(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, cloud={"candidates_from": "semantic"})
    model = trained(settings)
    assert model.collaboration is None
    bundle = export_bundle(model, tmp_path / "bundle", settings, created="2024", version="1")
    assert bundle.manifest.collaboration is None
    # A bundle made before collaboration was known keeps its id.
    old = bundle.manifest.model_dump(exclude={"bundle_id", "collaboration", "generator"})
    assert bundle.manifest.identity() == type(bundle.manifest).model_validate(old).identity()


class Adapted(Reranker):
    """A re-ranker whose re-training does what the test says: ``push`` is added to each target."""

    push: float = 0.0
    among: slice = slice(None)

    def adapted(self, name: str, place: tuple[int, int], rate: float) -> Any:
        scores = np.array(self.plain(name, place), dtype=np.float64)
        hit = self.lists[place[1]].items[:, : place[0]] == self.asked.target[:, None]
        helped = np.zeros_like(hit)
        helped[self.among] = hit[self.among]
        return scores + self.push * rate * helped


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Reranker]:
    settings = settings_of(tmp_path_factory.mktemp("given"))
    return settings, held_out(settings, trained(settings))


def adapted(held: Reranker, push: float, among: slice = slice(None)) -> Adapted:
    found = Adapted(held.srms, held.asked, held.lists, held.chosen, held.exclude_seen)
    found.push, found.among = push, among
    return found


@pytest.mark.slow
def test_a_device_re_trains_where_that_is_told_apart_from_not(
    given: tuple[Settings, Reranker],
) -> None:
    settings, held = given
    clear = choose_spec(adapted(held, 1000.0), PLACE, settings.lsc4rec)
    assert clear.spec.adaptation_rate in settings.lsc4rec.adaptive_rates
    figures = clear.figures
    assert figures["collaboration_validation_ndcg10"] == pytest.approx(
        float(np.isfinite(held.ranks(held.initial(PLACE), PLACE)["expected"]).mean())
    )  # every target on its list comes first
    # One request in the list's favour is no more than chance.
    ranks = held.ranks(held.plain("independent", PLACE), PLACE)["expected"]
    (some, *_) = np.flatnonzero(np.isfinite(ranks) & (ranks > 1))
    one = choose_spec(adapted(held, 1000.0, slice(some, some + 1)), PLACE, settings.lsc4rec)
    assert one.spec.adaptation_rate == 0.0
    assert choose_spec(adapted(held, 0.0), PLACE, settings.lsc4rec).spec.adaptation_rate == 0.0


def test_a_damaged_stage_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "collaboration.json").write_text('{"spec": {"initial_share": 2}}')
    with pytest.raises(DataError, match=r"collaboration\.json"):
        SAVED.load(tmp_path)


def test_defaults_are_the_paper_s_way_without_re_training() -> None:
    assert CollaborationSpec() == CollaborationSpec(initial_share=0.1, adaptation_rate=0.0)
