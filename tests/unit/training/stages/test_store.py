from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ConfigError
from shared.progress import NullProgress, Progress
from training.calibration.judge import GapFigures
from training.stages.forms import Saved, load_arrays, save_arrays
from training.stages.stage import Stage, stage_key
from training.stages.store import StageStore

FORM: Saved[np.ndarray] = Saved(
    save=lambda value, folder: save_arrays(folder, {"value": value}),
    load=lambda folder: load_arrays(folder)[0]["value"],
)


class Build:
    def __init__(self, value: float = 1.0, error: Exception | None = None) -> None:
        self.calls = 0
        self.value, self.error = value, error

    async def __call__(self) -> np.ndarray:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return np.full(3, self.value)


async def test_second_run_reads_instead_of_building(tmp_path: Path) -> None:
    build = Build()
    first = await StageStore(tmp_path).run("s", "k", build, FORM)
    again = StageStore(tmp_path)
    second = await again.run("s", "k", build, FORM)
    assert build.calls == 1
    assert again.reused == ["s"]
    assert again.seconds["s"] >= 0
    np.testing.assert_array_equal(first, second)


async def test_a_stage_that_two_ask_for_is_built_once(tmp_path: Path) -> None:
    builds = 0

    async def build(_: Progress, *__: object) -> np.ndarray:
        nonlocal builds
        builds += 1
        await asyncio.sleep(0)
        return np.zeros(2)

    stage = Stage(name="s", options={}, inputs={}, upstream=(), code=(), build=build, form=FORM)
    store = StageStore(tmp_path)
    one, two = await asyncio.gather(*(store.result(stage, NullProgress()) for _ in range(2)))
    assert one is two
    assert builds == 1


async def test_other_key_or_force_builds_anew(tmp_path: Path) -> None:
    build = Build()
    await StageStore(tmp_path).run("s", "k", build, FORM)
    await StageStore(tmp_path).run("s", "other", build, FORM)
    forced = StageStore(tmp_path, force=True)
    result = await forced.run("s", "k", Build(7.0), FORM)
    assert build.calls == 2
    assert forced.reused == []
    assert result[0] == 7.0
    kept = await StageStore(tmp_path).run("s", "k", build, FORM)
    assert kept[0] == 7.0


@pytest.mark.parametrize("damage", ["arrays.safetensors", "values.json", "stage.json"])
@pytest.mark.parametrize("how", ["cut", "flip", "remove"])
async def test_damaged_stage_is_built_anew(tmp_path: Path, damage: str, how: str) -> None:
    await StageStore(tmp_path).run("s", "k", Build(), FORM)
    path = tmp_path / "s-k" / damage
    data = bytearray(path.read_bytes())
    if how == "remove":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0x5A
        path.write_bytes(data)
    store, build = StageStore(tmp_path), Build(2.0)
    result = await store.run("s", "k", build, FORM)
    assert build.calls == 1
    assert result[0] == 2.0
    assert (await StageStore(tmp_path).run("s", "k", Build(), FORM))[0] == 2.0


async def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        await StageStore(tmp_path).run("s", "k", Build(error=RuntimeError("boom")), FORM)
    assert list(tmp_path.iterdir()) == []


async def test_failed_save_leaves_nothing_half_written(tmp_path: Path) -> None:
    def save(value: np.ndarray, folder: Path) -> None:
        save_arrays(folder, {"value": value})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await StageStore(tmp_path).run("s", "k", Build(), Saved(save, FORM.load))
    assert list(tmp_path.iterdir()) == []


async def test_unwritable_folder_says_where(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError, match=r"file/stages.*SCALREC_WORK_DIR"):
        await StageStore(blocked / "stages").run("s", "k", Build(), FORM)


def test_key_depends_on_every_input() -> None:
    base = stage_key(a=1, b={"x": 0.1})
    assert base == stage_key(b={"x": 0.1}, a=1)
    assert len({base, stage_key(a=2, b={"x": 0.1}), stage_key(a=1, b={"x": 0.2})}) == 3


def stage_for(build: Build, **parts: Any) -> Stage[np.ndarray]:
    async def after(progress: Progress, *before: np.ndarray) -> np.ndarray:
        return sum(before, await build())

    usual = {"name": "s", "code": (Build,), "build": after, "form": FORM}
    return Stage(**usual | parts)  # type: ignore[arg-type]


def test_the_key_of_a_stage_depends_on_all_that_it_says_it_reads() -> None:
    array, before = np.arange(3), stage_for(Build(), name="before")
    same = [
        stage_for(
            Build(),
            options=GapFigures(0.1, 0.2, 0.3, 0.4),
            inputs={"a": array, "b": ("x", 1.5)},
            upstream=u,
        )
        for u in ((before,), (stage_for(Build(), name="another name"),))
    ]
    assert same[0].key == same[1].key
    others = [
        {"options": GapFigures(0.1, 0.2, 0.3, 0.5)},
        {"inputs": {"a": array + 1, "b": ("x", 1.5)}},
        {"inputs": {"a": array.astype(np.int32), "b": ("x", 1.5)}},
        {"inputs": {"a": array.reshape(3, 1), "b": ("x", 1.5)}},
        {"inputs": {"a": array, "b": ("x", 1.6)}},
        {"upstream": ()},
        {"upstream": (stage_for(Build(), version=2),)},
        {"code": (StageStore,)},
        {"version": 2},
        {"libraries": ("numpy",)},
    ]
    keys = {replace(same[0], **other).key for other in others}
    assert len(keys | {same[0].key}) == len(others) + 1


def test_what_has_no_plain_content_cannot_be_read() -> None:
    with pytest.raises(TypeError, match="a stage cannot read a function"):
        _ = stage_for(Build(), options={"fit": lambda: 1}).key


async def test_stages_before_are_built_first_and_once(tmp_path: Path) -> None:
    first, second, third = Build(1.0), Build(10.0), Build(100.0)
    one = stage_for(first, name="one")
    two = stage_for(second, name="two", upstream=(one,))
    three = stage_for(third, name="three", upstream=(one, two))
    store = StageStore(tmp_path)
    np.testing.assert_array_equal(await store.result(three, NullProgress()), np.full(3, 112.0))
    await store.result(two, NullProgress())
    assert [build.calls for build in (first, second, third)] == [1, 1, 1]
    assert store.keys == {stage.name: stage.key for stage in (one, two, three)}
    # Nothing before a finished stage is looked at.
    again = StageStore(tmp_path)
    await again.result(three, NullProgress())
    assert again.reused == ["three"]
    # A stage that changed is built from what the finished ones before it left.
    changed = StageStore(tmp_path)
    await changed.result(replace(three, version=2), NullProgress())
    assert changed.reused == ["one", "two"]
    assert [build.calls for build in (first, second, third)] == [1, 1, 2]


async def test_the_seconds_of_a_stage_leave_out_those_before_it(tmp_path: Path) -> None:
    class Slow(Build):
        async def __call__(self) -> np.ndarray:
            await asyncio.sleep(0.3)
            return await super().__call__()

    store = StageStore(tmp_path)
    before = stage_for(Slow(), name="before")
    await store.result(stage_for(Build(), name="after", upstream=(before,)), NullProgress())
    assert store.seconds["before"] >= 0.3
    assert 0 <= store.seconds["after"] < 0.3
