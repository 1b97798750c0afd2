"""What a refresh need not do again: encode what its request encoded, read all events for words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.link import CloudLink
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.settings import LinkSettings
from device_runtime.state.history import RequestContext
from shared.bundle import Bundle
from shared.own_score import TextStudentSpec
from shared.profile import DeviceProfile
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe
from tests.support.transports import ScriptedTransport

# Not float32, and just below a whole hour, which float32 rounds it to.
LATE = 41.99999999


class Counting(TemplateAbstract):
    """Counts how often all events are read."""

    written = 0

    def write(self, past: Any, context: RequestContext) -> str:
        self.written += 1
        return super().write(past, context)


def link_to(cloud: FakeCloud) -> CloudLink:
    return CloudLink(ScriptedTransport([cloud]), LinkSettings())


def with_student(path: Path, **limits: Any) -> Bundle:
    return make_bundle(
        path,
        profile=DeviceProfile(window=5, **limits),
        text_student=TextStudentSpec(rows=64, weight=0.5),
    )


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the length of the window with every run of an encoder."""
    lengths: list[int] = []
    run = DeviceModels.encode

    def counted(self: DeviceModels, vectors: Any, times: Any) -> Any:
        lengths.append(len(vectors))
        return run(self, vectors, times)

    monkeypatch.setattr(DeviceModels, "encode", counted)
    return lengths


async def test_a_refresh_takes_the_encoding_of_its_request(
    tmp_path: Path, encoded: list[int]
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    cloud = FakeCloud(bundle)
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    response = device.request(CONTEXT)
    await device.refresh(link_to(cloud), CONTEXT)
    assert encoded == [3]
    assert response.encoded is not None
    assert device.snapshot is not None
    assert device.snapshot.e_str is not None
    assert (device.snapshot.e_str == response.encoded.e_str).all()
    # Another moment or another event: what was encoded is of no use.
    device.request(CONTEXT)
    await device.refresh(link_to(cloud), replace(CONTEXT, hour_of_week=90.0))
    device.request(CONTEXT)
    observe(device, [4])
    await device.refresh(link_to(cloud), CONTEXT)
    assert encoded == [3, 3, 3, 3, 4]


@pytest.mark.parametrize(("retain", "read"), [("all", 0), ("window", 1)])
async def test_words_come_from_the_digest_that_is_kept(
    tmp_path: Path, retain: str, read: int
) -> None:
    bundle = with_student(tmp_path / "bundle", retain=retain)
    writer = Counting(bundle.catalogue())
    device = Device("ann", DeviceModels.load(bundle), writer, digest=writer.digest())
    cloud = FakeCloud(bundle)
    observe(device, [7, 7, 3, 9, 3, 7, 12])
    device.observe(5, 8 * 3600.0, LATE)
    device.observe(-1, 9 * 3600.0, 3.0)  # of no item that is known
    context = RequestContext(10 * 3600.0, LATE)
    await device.refresh(link_to(cloud), context)
    assert writer.written == read
    expected = TemplateAbstract(bundle.catalogue()).write(device._history.events, context)
    assert cloud.asked[-1].abstract == expected


async def test_a_digest_in_other_words_is_not_told(tmp_path: Path) -> None:
    bundle = with_student(tmp_path / "bundle")
    writer, other = Counting(bundle.catalogue()), TemplateAbstract(bundle.catalogue())
    device = Device("ann", DeviceModels.load(bundle), writer, digest=other.digest())
    observe(device, [1, 2])
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    assert writer.written == 1
