import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest

from device_runtime.cloud.transport import HttpTransport
from loadtest.records.checksums import SUMS
from loadtest.records.record_table import numbers
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import Connect, replay
from loadtest.replay.ticker import ReplayTick
from loadtest.timing.clock import ReplayClock, WallClock
from loadtest.timing.virtual_loop import VirtualClockError
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError
from shared.profile import PRESETS
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.replays import in_process, records, replay_settings, replay_tiny
from tests.support.staleness import make_log


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


def test_no_cloud_at_all_is_answered_from_local_history(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle, availability={"kind": "never"})
    result = replay_tiny(tmp_path / "run", bundle, settings)
    requests, refreshes = records(tmp_path / "run")
    assert (result.users, result.requests, result.from_snapshot) == (12, 120, 0)
    assert len(requests) == 120
    assert set(requests["source"]) == {"local"}
    assert result.refreshes == result.failed_refreshes == len(refreshes) > 0
    assert set(refreshes["outcome"]) <= {"network", "breaker"}
    assert "open" in set(requests["breaker"])
    assert result.outages == ((0.0, 90.0),)


def test_a_steady_cloud_keeps_every_k_to_its_schedule(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle, availability={"kind": "always"}, device={"k": 5})
    result = replay_tiny(tmp_path / "run", bundle, settings)
    requests, refreshes = records(tmp_path / "run")
    assert result.failed_refreshes == 0
    assert set(requests["source"]) == {"snapshot"}
    assert set(requests["delta"]) == {1, 2, 3, 4, 5}
    # A first snapshot each, then one per five requests: ten requests end in two of those.
    assert len(refreshes) == 12 * 3
    in_window = refreshes.filter(pl.col("started_s") >= 0)
    # Devices are out of step with one another: refreshes fall all over the window.
    assert numbers(in_window, "started_s").min() < 20.0
    assert numbers(in_window, "started_s").std() > 15.0


def test_without_warm_start_the_first_answer_is_local(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle, availability={"kind": "always"}, warm_start=False)
    replay_tiny(tmp_path / "run", bundle, settings)
    requests, refreshes = records(tmp_path / "run")
    by_user = requests.sort("step").group_by("user", maintain_order=True)
    assert set(by_user.first()["source"]) == {"local"}
    assert requests["source"].value_counts().sort("source")["count"].to_list() == [12, 108]
    assert numbers(refreshes, "started_s").min() > 0


def test_never_refreshing_means_no_calls(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle, device={"policy": "never"})
    result = replay_tiny(tmp_path / "run", bundle, settings)
    assert (result.refreshes, result.from_snapshot, result.requests) == (0, 0, 120)


@pytest.mark.parametrize("profile", ["tiny", "full"])
def test_a_record_says_what_the_same_device_had_answered_without_a_cloud(
    tmp_path: Path, profile: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", n_items=50, profile=PRESETS[profile])
    availabilities = {"cloud": "always", "none": "never"}
    for name, kind in availabilities.items():
        settings = replay_settings(bundle, availability={"kind": kind})
        replay_tiny(tmp_path / name, bundle, settings)
    (asked, _), (unaided, _) = (records(tmp_path / name) for name in availabilities)
    order = ("user", "step")
    asked, unaided = asked.sort(*order), unaided.sort(*order)
    assert asked["rank_alone"].equals(unaided["rank"].rename("rank_alone"))
    assert asked["tied_alone"].equals(unaided["tied"].rename("tied_alone"))
    assert not asked["rank_alone"].equals(asked["rank"].rename("rank_alone"))


def test_seen_items_compete_nowhere_when_repeats_are_excluded(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", repeat_policy="exclude")
    replay_tiny(tmp_path / "run", bundle, replay_settings(bundle))
    requests, _ = records(tmp_path / "run")
    returns = requests.filter("is_return")
    ranks = ["rank", "rank_uncalibrated", "rank_structure", "rank_popularity", "rank_decayed"]
    assert len(returns) > 20
    assert all(returns[name].is_infinite().all() for name in ranks)
    assert requests.filter(~pl.col("is_return"))["rank_popularity"].is_finite().all()


def test_without_calibration_the_answer_is_the_uncalibrated_one(
    tmp_path: Path, bundle: Bundle
) -> None:
    replay_tiny(tmp_path / "on", bundle, replay_settings(bundle))
    replay_tiny(tmp_path / "off", bundle, replay_settings(bundle, device={"calibrate": False}))
    on, off = (records(tmp_path / name)[0] for name in ("on", "off"))
    assert off["rank"].equals(off["rank_uncalibrated"])
    assert off["rank_uncalibrated"].equals(on["rank_uncalibrated"])
    assert not on["rank"].equals(on["rank_uncalibrated"])


def test_ticks_tell_where_it_stands(tmp_path: Path, bundle: Bundle) -> None:
    ticks: list[ReplayTick] = []
    replay_tiny(tmp_path / "run", bundle, replay_settings(bundle), on_tick=ticks.append)
    assert 150 < len(ticks) < 220
    assert [t.answered for t in ticks] == sorted(t.answered for t in ticks)
    assert (ticks[-1].answered, ticks[-1].due, ticks[-1].window_s) == (120, 120, 90.0)
    assert {t.cloud_up for t in ticks} == {True, False}
    assert all(t.cloud_up == (t.replay_s % 30.0 < 20.0) for t in ticks)
    assert ticks[-1].refreshes > ticks[0].refreshes > 0


def test_an_error_of_on_tick_is_raised(tmp_path: Path, bundle: Bundle) -> None:
    def broken(tick: ReplayTick) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replay_tiny(tmp_path / "run", bundle, replay_settings(bundle), on_tick=broken)
    assert len(records(tmp_path / "run")[0]) == 120


def test_cancelling_keeps_the_records_and_leaves_no_task(tmp_path: Path, bundle: Bundle) -> None:
    left: list[int] = []

    def interrupt(tick: ReplayTick) -> None:
        if tick.replay_s > 40.0:
            me = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not me]
            left.append(len(others))
            for task in others:
                task.cancel()

    with pytest.raises(asyncio.CancelledError):
        replay_tiny(
            tmp_path / "run",
            bundle,
            replay_settings(bundle, availability={"kind": "never", "failure": "hang"}),
            on_tick=interrupt,
        )
    requests, _ = records(tmp_path / "run")
    assert 30 < len(requests) < 90
    assert numbers(requests, "scheduled_s").max() < 41.0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        SUMS,
        "refreshes.parquet",
        "requests.parquet",
    ]


def test_a_bundle_of_another_log_or_profile_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle)
    with pytest.raises(BundleError, match="other items than"):
        replay_tiny(tmp_path / "a", bundle, settings, log=make_log(events=30, n_items=49))
    profile = settings.profile.model_copy(update={"window": 99})
    with pytest.raises(BundleError, match="another device profile"):
        replay_tiny(tmp_path / "b", bundle, settings.model_copy(update={"profile": profile}))


def test_impossible_settings_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(bundle, availability={"period_s": 5.0, "outage_s": 9.0})
    with pytest.raises(ConfigError, match="does not fit"):
        replay_tiny(tmp_path / "run", bundle, settings)


@pytest.mark.parametrize("warm_start", [True, False])
def test_real_sockets_under_the_virtual_clock_are_refused(
    tmp_path: Path, bundle: Bundle, warm_start: bool
) -> None:
    @asynccontextmanager
    async def sockets(clock: ReplayClock) -> AsyncIterator[Connect]:
        yield lambda: HttpTransport("http://127.0.0.1:9")

    settings = replay_settings(bundle, availability={"kind": "always"}, warm_start=warm_start)
    with pytest.raises(VirtualClockError, match="real I/O under the virtual clock"):
        replay_tiny(tmp_path / "run", bundle, settings, open_cloud=sockets)


async def test_the_same_code_runs_on_the_wall_clock(tmp_path: Path, bundle: Bundle) -> None:
    settings = replay_settings(
        bundle, clock="wall", duration_s=1.5, availability={"period_s": 0.5, "outage_s": 0.2}
    )
    log, clock = make_log(users=12, events=30), WallClock()
    with Recorder(tmp_path / "run") as recorder:
        async with in_process(bundle, settings)(clock) as connect:
            result = await replay(
                log,
                split_log(log, test_steps=10),
                bundle,
                settings,
                connect,
                clock=clock,
                recorder=recorder,
                progress=NullProgress(),
            )
    requests, _ = records(tmp_path / "run")
    assert result.requests == len(requests) == 120
    assert 1.4 < result.elapsed_s < 12.0
    assert (requests["latency_service_ms"] > 0).all()
    assert (requests["latency_scheduled_ms"] >= requests["latency_service_ms"]).all()


def test_a_request_to_stop_ends_the_replay_at_once(tmp_path: Path, bundle: Bundle) -> None:
    class Stop(BaseException):
        """As progress raises it in a cancelled worker thread."""

    def stop(tick: ReplayTick) -> None:
        if tick.replay_s > 40.0:
            raise Stop

    with pytest.raises(Stop):
        replay_tiny(tmp_path / "run", bundle, replay_settings(bundle), on_tick=stop)
    requests, _ = records(tmp_path / "run")
    assert 30 < len(requests) < 90


def test_no_snapshot_of_an_earlier_run_under_the_virtual_clock(
    tmp_path: Path, bundle: Bundle
) -> None:
    settings = replay_settings(bundle, device={"cache_dir": str(tmp_path / "kept")})
    with pytest.raises(ConfigError, match=r"device\.cache_dir"):
        replay_tiny(tmp_path / "run", bundle, settings)
    assert not (tmp_path / "run").exists()
