from pathlib import Path

import pytest

from device_runtime.models import DeviceModels
from shared.bundle import MANIFEST, REFRESH_FILE, load_bundle, write_bundle
from shared.errors import BundleError
from shared.refresh_file import CallRates, RefreshKnowledge, read_refresh
from tests.support.bundles import make_bundle, random_gain

KNOWN = RefreshKnowledge(
    gain=random_gain(), call_rates={"drift": CallRates(thresholds=(0.5, 2.0), rates=(0.4, 0.1))}
)


def test_a_device_downloads_what_training_knows_of_refreshes(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", refresh=KNOWN)
    assert REFRESH_FILE in bundle.manifest.device_files
    assert read_refresh(load_bundle(bundle.path)) == KNOWN
    own = tmp_path / "device"
    own.mkdir()
    for name in (MANIFEST, *bundle.manifest.device_files):
        (own / name).write_bytes((bundle.path / name).read_bytes())
    assert read_refresh(load_bundle(own, device=True)) == KNOWN
    models = DeviceModels.load(bundle)
    assert models.gain is not None
    assert models.call_rates["drift"].rate(1.25) == pytest.approx(0.25)


def test_a_bundle_without_it_is_as_good_as_ever(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    assert read_refresh(load_bundle(bundle.path)) == RefreshKnowledge()
    models = DeviceModels.load(bundle)
    assert models.gain is None
    assert models.call_rates == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"gain": 1}', b'{"call_rates": {"drift": {"thresholds": [2, 1], '
     b'"rates": [1, 0]}}}', b'{"call_rates": {"drift": {"thresholds": [1, 2], "rates": [0, 1]}}}'],
)  # fmt: skip
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    good = make_bundle(tmp_path / "good", refresh=KNOWN)
    files = {name: good.file(name).read_bytes() for name in good.manifest.files}
    bad = write_bundle(tmp_path / "bad", good.manifest, files | {REFRESH_FILE: content})
    with pytest.raises(BundleError, match=REFRESH_FILE):
        read_refresh(load_bundle(bad.path))


def test_between_two_thresholds_the_rate_is_on_a_line_and_level_beyond() -> None:
    rates = KNOWN.call_rates["drift"]
    assert [rates.rate(score) for score in (-9.0, 0.5, 1.25, 2.0, 9.0)] == pytest.approx(
        [0.4, 0.4, 0.25, 0.1, 0.1]
    )
