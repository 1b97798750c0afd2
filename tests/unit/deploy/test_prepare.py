"""Which bundles the stack takes, and why it refuses the others."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from scalrec.settings import Settings, load_settings
from shared.bundle import EmbedderIdentity
from tests.support.bundles import make_bundle
from tests.support.generators import small_generator, with_generator

PREPARE = runpy.run_path(str(Path(__file__).resolve().parents[3] / "deploy" / "bin" / "prepare.py"))
GENERATIVE = {"cloud": {"candidates_from": "generative"}}


def settings_for(**sections: object) -> Settings:
    given = {"log": {"name": "test"}, "embedder": {"backend": "hashing", "model": "hashing-16"}}
    return load_settings(**(given | sections))


def refusal(folder: Path, settings: Settings) -> str:
    bundle, why = PREPARE["_usable"](folder, settings)
    assert (bundle is None) == bool(why)
    return str(why)


def test_a_bundle_of_the_log_and_embedder_in_force_is_taken(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b")
    assert refusal(tmp_path / "b", settings_for()) == ""
    assert "of the log test" in refusal(tmp_path / "b", settings_for(log={"name": "redial"}))
    vllm = settings_for(embedder={"backend": "vllm"})
    assert "made with the embedder hashing" in refusal(tmp_path / "b", vllm)
    assert refusal(tmp_path / "nothing", settings_for())


def test_a_bundle_that_was_embedded_inside_training_is_served_by_vllm(tmp_path: Path) -> None:
    identity = EmbedderIdentity(backend="transformers", model="minilm", pooling="MEAN", dim=16)
    make_bundle(tmp_path / "b", embedder=identity)
    for backend in ("vllm", "transformers"):
        assert refusal(tmp_path / "b", settings_for(embedder={"backend": backend})) == ""
    assert "embedder transformers, not hashing" in refusal(tmp_path / "b", settings_for())


def test_a_generative_cloud_takes_only_a_bundle_that_can_generate(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    trained = small_generator(plain, tmp_path)
    told = with_generator(plain, tmp_path / "told", trained)
    silent = with_generator(plain, tmp_path / "silent", trained, told=False)

    assert "no generator of the kind p5" in refusal(plain.path, settings_for(**GENERATIVE))
    assert refusal(told.path, settings_for(**GENERATIVE)) == ""
    assert "tell no item tokens" in refusal(silent.path, settings_for(**GENERATIVE))
    pod = settings_for(**GENERATIVE, generative={"model": "pod"})
    assert "no generator of the kind pod" in refusal(told.path, pod)
    assert refusal(told.path, settings_for()) == ""  # what it has beside does no harm


def test_a_folder_that_may_not_be_read_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PREPARE["_closed"](tmp_path) == ""
    assert PREPARE["_closed"](tmp_path / "nothing") == ""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"may not read {tmp_path}" in PREPARE["_closed"](tmp_path)
    assert "chmod -R a+rX" in PREPARE["_closed"](tmp_path)
