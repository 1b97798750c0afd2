"""Item tokens leave a device only where its bundle allows it."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path

import pytest

from device_runtime.cloud.link import CloudLink
from device_runtime.settings import LinkSettings
from shared.bundle import Bundle
from shared.profile import preset
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe
from tests.support.generators import HISTORY, small_generator, with_generator
from tests.support.transports import ScriptedTransport
from training.generative.trained import TrainedGenerator


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def trained(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    return small_generator(plain, tmp_path_factory.mktemp("generator"))


async def body_of(bundle: Bundle, items: list[int]) -> dict[str, object]:
    """What a device with this past posts."""
    transport = ScriptedTransport([FakeCloud(bundle)])
    device = new_device(bundle)
    observe(device, items)
    async with aclosing(CloudLink(transport, LinkSettings())) as link:
        result = await device.refresh(link, CONTEXT)
    assert result is not None
    assert result.outcome == "fresh"
    body: dict[str, object] = json.loads(transport.sent[0].content)
    return body


@pytest.mark.parametrize("kind", ["no generator", "not allowed"])
async def test_nothing_but_the_abstract_leaves_by_default(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path, kind: str
) -> None:
    bundle = plain
    if kind == "not allowed":
        bundle = with_generator(plain, tmp_path / "b", trained, told=False)
    assert set(await body_of(bundle, [4, 7, 4, 9])) == {"abstract", "step", "bundle_id"}


async def test_the_latest_items_are_told_oldest_first(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path
) -> None:
    bundle = with_generator(plain, tmp_path / "b", trained)
    codes = trained.tokens.codes
    few = await body_of(bundle, [4, 7])
    assert few["item_tokens"] == codes[[4, 7]].tolist()
    many = await body_of(bundle, [1, 2, 3, 4, 7, 4, 9])
    assert many["item_tokens"] == codes[[4, 7, 4, 9]].tolist()
    assert len(codes[[4, 7, 4, 9]]) == HISTORY
    assert (await body_of(bundle, []))["item_tokens"] == []


async def test_a_device_without_item_table_can_tell_them_too(
    trained: TrainedGenerator, tmp_path: Path
) -> None:
    plain = make_bundle(tmp_path / "plain", profile=preset("tiny"))
    bundle = with_generator(plain, tmp_path / "b", trained)
    body = await body_of(bundle, [5, 6])
    assert body["item_tokens"] == trained.tokens.codes[[5, 6]].tolist()
