"""What counts as a stage's code: the files of its parts, without comments and docstrings."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

import training.encoders
from cloud_service.embedding.hashing import HashingEmbedder
from experiments.studies.frontier.study import evidence_stage
from experiments.studies.frontier.windows import draw_windows
from experiments.studies.lsc4rec.device_model import DeviceModel, cooperative_stage, din_stage
from experiments.studies.lsc4rec.lists import Listed, lists_stage
from experiments.studies.rq1.method_stage import method_stage
from scalrec.settings import Settings, load_settings
from shared.progress import NullProgress
from shared.split import Steps
from tests.support.logs import drifting_log
from training.baselines.base import Fitting
from training.baselines.registry import BASELINES
from training.collaboration.stage import collaboration_stage
from training.refresh.stage import refresh_stage
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.projector import fit_projector
from training.stages.code import ROOT, code_of, module_of, reached_by
from training.stages.stage import Stage
from training.stages.store import StageStore
from training.tuning.stage import tuning_stage

FILES = {
    "app/__init__.py": "",
    "app/fit.py": "'''Fits.'''\ndef fit(x):\n    '''Says.'''\n    return x\n",
    "app/other.py": "x = 1\n",
    "lib/__init__.py": "",
    "lib/deep/__init__.py": "",
    "lib/deep/maths.py": "class Sum:\n    'Adds.'\n    name = 'sum'\n",
}
ROOTS = ("shared", "cloud_service", "device_runtime", "training", "experiments", "launch")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", ["app/fit.py", "lib/deep/maths.py"])
def test_a_changed_line_of_a_part_changes_the_hash(root: Path, name: str) -> None:
    before = code_of(["app.fit", "lib"], root)
    path = root / name
    path.write_text(path.read_text() + "added = 1\n")
    assert code_of(["app.fit", "lib"], root) != before


def test_other_files_do_not(root: Path) -> None:
    before = code_of(["app.fit", "lib"], root)
    (root / "app/other.py").write_text("changed = 1\n")
    assert code_of(["app.fit", "lib"], root) == before
    assert code_of(["lib", "app.fit"], root) == before


def test_comments_and_docstrings_are_free_but_other_texts_are_not(root: Path) -> None:
    before = code_of(["app", "lib"], root)
    path = root / "app/fit.py"
    path.write_text(
        "'''Fits it.'''\n\ndef fit(x):\n    '''Says more.'''  # and why\n    return x\n"
    )
    path = root / "lib/deep/maths.py"
    path.write_text(path.read_text().replace("'Adds.'", "'Adds up.'"))
    assert code_of(["app", "lib"], root) == before
    path.write_text(path.read_text().replace("'sum'", "'add'"))
    assert code_of(["app", "lib"], root) != before


def test_a_part_that_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        code_of(["app.gone"], root)


def test_what_a_part_reaches_is_found_wherever_it_is_imported(root: Path) -> None:
    """Packages of others are none of it, and what brings stages together ends the search."""
    (root / "app/far.py").write_text("import json\nfrom app.other import x\n")
    (root / "app/fit.py").write_text(
        "from app import far\n\ndef fit():\n    from lib.deep.maths import Sum\n"
    )
    (root / "lib/deep/maths.py").write_text("import app.joined\nimport lib.settings\n")
    (root / "app/joined.py").write_text("from training.stages.stage import Stage\nimport lib\n")
    (root / "training/stages").mkdir(parents=True)
    (root / "training/stages/stage.py").write_text("")
    (root / "lib/settings.py").write_text("")
    found = reached_by("app.fit", root=root)
    assert found == ("app.far", "app.fit", "app.other", "lib.deep.maths")


def test_functions_and_modules_stand_for_where_they_are() -> None:
    assert code_of([fit_projector]) == code_of(["training.semantic.projector"], ROOT)
    assert code_of([training.encoders]) == code_of(["training.encoders"])


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """Every stage that a run of training may go through."""
    folder, log = tmp_path_factory.mktemp("run"), drifting_log()
    settings = load_settings(
        work_dir=folder,
        embedder={"backend": "hashing", "model": "hashing-32"},
        training={"test_steps": 5},
    )
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        embedder = HashingEmbedder(32)
        run = TrainingRun(settings, log, embedder, cache, StageStore(folder), NullProgress())
    made = [run.items, run.abstracts, run.structure, run.semantics, run.student, run.words]
    made += [
        run.fusion,
        run.calibrator,
        run.opponent,
        run.generator,
        collaboration_stage(run),
        refresh_stage(run, None),
    ]  # type: ignore[arg-type]
    unread = Listed(
        calibration=None,
        trained_on=None,
        validation=None,
        test=None,
        of_calibration=None,
        of_trained_on=None,
        of_validation={2: None},
        of_test={},
    )  # type: ignore[arg-type,dict-item]
    device = DeviceModel(None, "key", 0.0)  # type: ignore[arg-type]
    lists = lists_stage(run, run, {})
    made += [din_stage(run), lists, cooperative_stage(run, device, None, unread, lists.key)]  # type: ignore[arg-type]
    windows = draw_windows(log, run.split, length=5, users=3, history=5)
    made.append(evidence_stage(run, None, windows))  # type: ignore[arg-type]
    for name, method in BASELINES.items():
        fitting = Fitting(run=run, trained=None, world=None, validation={})  # type: ignore[arg-type]
        steps = Steps(run.steps.anchors.user, run.steps.anchors.tau)
        made.append(method_stage(run, fitting, None, steps, name, method))  # type: ignore[arg-type]
    lora = Settings(embedder={"lora": {"rank": 4}}).embedder.lora
    assert lora is not None
    made.append(tuning_stage(settings, log, lora, folder, folder))

    def other(**training: object) -> TrainingRun:
        options = settings.training.model_copy(update=training)
        asked = settings.model_copy(update={"training": options})
        return TrainingRun(asked, log, embedder, cache, run.store, NullProgress())

    made += [other(distil=True).structure, other(rare_items="text").semantics]
    made.append(replace(other(calibration_block="users").calibrator, name="calibration-users"))
    return {stage.name: stage for stage in made if stage is not None}


def declared(stage: Stage) -> set[str]:
    """Modules and packages of a stage's code and of the stages it reads."""
    own = {"shared", *(module_of(part) for part in stage.code)}
    return own.union(*(declared(before) for before in stage.upstream))


def test_a_stage_names_all_code_that_it_computes_with(stages: dict[str, Stage]) -> None:
    """A key that leaves out code would let a stale result be used."""
    graph = grimp.build_graph(*ROOTS, exclude_type_checking_imports=True)
    # They bring stages together and keep results; threads are how, not what, is computed.
    wiring = graph.find_modules_that_directly_import("training.stages.stage")
    wiring |= graph.find_descendants("training.stages")
    wiring |= {"training.stages", "training.background", "training.trained"}
    # Of settings the values decide, and those are in a key.
    wiring |= {f"{room}.settings" for room in ("cloud_service", "device_runtime", "training")}
    for module in wiring & graph.modules:  # a package takes those in it along
        graph.remove_module(module)
    assert {"training.semantic.requests", "training.calibration.fit"} <= graph.modules
    missing = {}
    for name, stage in stages.items():
        there = declared(stage) - wiring
        own = {m for m in graph.modules if any(f"{m}.".startswith(f"{p}.") for p in there)}
        reached = set[str]().union(*(graph.find_upstream_modules(module) for module in own))
        if reached - own:
            missing[name] = sorted(reached - own)
    assert missing == {}


# A line of a function that decides results, another in its place, and stages it must reach.
MUTATIONS = [
    ("shared/bundle.py", "def rule_at(", "def rule_at_(", {"calibration", "gate", "refresh"}),
    ("shared/metrics.py", "np.log2(1.0 + ", "np.log2(2.0 + ", {"backbone", "projector", "din"}),
    (
        "shared/split.py",
        "np.minimum(test_steps",
        "np.maximum(test_steps",
        {"abstracts", "backbone"},
    ),
    ("cloud_service/embedding/vllm.py", "import", "import sys, ", {"items", "abstracts", "din"}),
    ("cloud_service/embedding/batcher.py", "class ", "class A", {"items", "abstracts"}),
    ("training/semantic/texts.py", "def embed_texts", "def embed_text", {"items", "projector"}),
    ("device_runtime/state/cues.py", "def ", "def a", {"calibration", "gate", "refresh"}),
    ("training/calibration/age_rules.py", "SCALES", "SCALED", {"calibration", "gate"}),
    ("training/pools.py", "WANTED = 10", "WANTED = 11", {"fusion", "calibration", "refresh"}),
    ("device_runtime/student/features.py", "class ", "class A", {"student", "words", "projector"}),
    ("training/student/bags.py", "def student_bags", "def bags", {"student", "words"}),
    ("training/fusion/fit.py", "COUNTS_MARGIN = 2.0", "COUNTS_MARGIN = 0.0", {"fusion", "gate"}),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of every room that stages are computed by, to be changed at will."""
    folder = tmp_path_factory.mktemp("code")
    for room in ROOTS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def hashes(stages: dict[str, Stage], root: Path) -> dict[str, str]:
    """Of each stage the code that its key is made of, that of the stages it reads included."""

    def whole(stage: Stage) -> str:
        before = "".join(whole(each) for each in stage.upstream)
        return before + code_of(("shared", *stage.code), root)

    return {name: whole(stage) for name, stage in stages.items()}


@pytest.mark.parametrize(("file", "line", "changed", "reached"), MUTATIONS)
def test_a_changed_function_gives_its_stages_other_keys(
    stages: dict[str, Stage], copied: Path, file: str, line: str, changed: str, reached: set[str]
) -> None:
    known = {name.partition("-")[0] for name in stages}
    assert reached <= known
    before, path = hashes(stages, copied), copied / file
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, changed, 1))
    try:
        after = hashes(stages, copied)
    finally:
        path.write_text(text)
    moved = {name.partition("-")[0] for name in stages if after[name] != before[name]}
    assert reached <= moved


def test_a_key_is_made_of_that_code(
    stages: dict[str, Stage], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {name: replace(stage).key for name, stage in stages.items()}
    monkeypatch.setattr("training.stages.code.ROOT", copied)
    assert {name: replace(stage).key for name, stage in stages.items()} == keys
    path = copied / "shared/bundle.py"
    text = path.read_text()
    path.write_text(text.replace("def rule_at(", "def rule_at_(", 1))
    assert not keys.items() & {name: replace(s).key for name, s in stages.items()}.items()
    path.write_text(text)
