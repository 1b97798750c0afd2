import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.transport import CloudTransport, TransportError
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.response import Diagnostics, Response
from device_runtime.state.history import RequestContext, Window
from loadtest.evaluation.counters import CounterRanks
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.record_table import numbers
from loadtest.records.recorder import REQUESTS, Recorder
from loadtest.replay.fleet import Fleet
from loadtest.timing.clock import ReplayTime, VirtualClock
from loadtest.timing.schedule import Schedule, build_schedule
from loadtest.timing.virtual_loop import run_virtual
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.metrics import Rank
from shared.progress import NullTask
from shared.schemas import SnapshotRequest
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.replays import replay_settings
from tests.support.staleness import make_log
from tests.support.transports import ScriptedTransport

RANKS = CounterRanks(Rank(7.0), Rank(8.0, 3), Rank(9.0))
LOG = make_log(users=6, events=20)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


def no_cloud() -> ScriptedTransport:
    return ScriptedTransport([TransportError("nobody there")])


def schedule_of(settings: Settings, seed: int = 0) -> Schedule:
    return build_schedule(LOG, split_log(LOG, test_steps=5), settings.replay, seed=seed)


class WorkingClock(VirtualClock):
    """A virtual clock on which computing takes time too, as much as the test says."""

    worked = 0.0

    def time(self) -> float:
        return super().time() + self.worked


def run(
    folder: Path,
    bundle: Bundle,
    settings: Settings,
    *,
    connect: Callable[[], CloudTransport] = no_cloud,
    inspect: Callable[[Fleet, WorkingClock], None] = lambda fleet, clock: None,
) -> pl.DataFrame:
    """Run a whole fleet under the virtual clock; returns its requests."""
    schedule = schedule_of(settings)
    counters: Sequence[CounterRanks] = [RANKS] * len(schedule)

    async def main() -> None:
        clock = WorkingClock()
        time = ReplayTime(clock)
        fleet = Fleet(
            LOG,
            schedule,
            DeviceModels.load(bundle),
            settings,
            connect,
            time=time,
            cloud_up=lambda t: False,
            recorder=recorder,
            run_id="test",
        )
        fleet.load_histories(NullTask())
        time.start()
        inspect(fleet, clock)
        await fleet.run(counters)
        await fleet.aclose()
        assert len(asyncio.all_tasks()) == 1

    with Recorder(folder / "run") as recorder:
        run_virtual(main)
    return pl.read_parquet(folder / "run" / REQUESTS)


def test_every_scheduled_request_is_answered_with_true_context(
    tmp_path: Path, bundle: Bundle
) -> None:
    settings = replay_settings(bundle, warm_start=False)
    frame = run(tmp_path, bundle, settings)
    schedule = schedule_of(settings)
    for column in ("user", "step", "target", "scheduled_s"):
        np.testing.assert_array_equal(frame[column], getattr(schedule, column))
    np.testing.assert_allclose(frame["started_s"], frame["scheduled_s"], atol=1e-9)
    for row in frame.to_dicts():
        history = LOG.item[LOG.events_of(row["user"])][: row["step"]]
        assert row["is_return"] == (row["target"] in history)
    assert set(frame["source"]) == {"local"}
    assert set(frame["delta"]) == {-1}
    assert frame["omega"].is_nan().all()
    counted = frame.select(r"^(rank|tied)_(popularity|frequency|decayed)$").unique().row(0)
    assert counted == (7.0, 8.0, 9.0, 1, 3, 1)
    assert not frame["cloud_up"].any()


def test_requests_and_refreshes_carry_the_query_of_their_own_event(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = tuple(f"query {row}" for row in range(len(LOG)))
    monkeypatch.setitem(globals(), "LOG", dataclasses.replace(LOG, query=queries))
    asked: list[RequestContext] = []
    written: list[tuple[int, RequestContext]] = []
    answer, write = Device.request, TemplateAbstract.write

    def request(device: Device, context: RequestContext, k: int = 10) -> Response:
        asked.append(context)
        return answer(device, context, k)

    def noted(self: TemplateAbstract, items: NDArray[np.int32], context: RequestContext) -> str:
        written.append((len(items), context))
        return write(self, items, context)

    monkeypatch.setattr(Device, "request", request)
    monkeypatch.setattr(TemplateAbstract, "write", noted)
    settings = replay_settings(bundle, warm_start=False)
    frame = run(tmp_path, bundle, settings)
    rows = LOG.user_start[frame["user"].to_numpy()] + frame["step"].to_numpy()
    # Devices answer a few untimed requests first to be warm.
    assert [context.query for context in asked[-len(rows) :]] == [queries[row] for row in rows]
    assert written
    own = {queries[row]: int(step) for row, step in zip(rows, frame["step"], strict=True)}
    assert all(own[context.query] == n_items for n_items, context in written)


def test_a_slow_process_shows_as_late_starts_and_never_moves_the_schedule(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: list[WorkingClock] = []
    answer = Device.request

    def slow(device: Device, context: RequestContext, k: int = 10) -> Response:
        clocks[0].worked += 4.0
        return answer(device, context, k)

    monkeypatch.setattr(Device, "request", slow)
    settings = replay_settings(bundle, duration_s=30.0, warm_start=False, steps=2, users=5)
    frame = run(tmp_path, bundle, settings, inspect=lambda fleet, clock: clocks.append(clock))
    np.testing.assert_array_equal(frame["scheduled_s"], schedule_of(settings).scheduled_s)
    np.testing.assert_allclose(frame["latency_service_ms"], 4000.0)
    late = (frame["started_s"] - frame["scheduled_s"]).to_numpy()
    np.testing.assert_allclose(frame["latency_scheduled_ms"], (late + 4.0) * 1e3)
    # Ten requests of 4 s each within 30 s: the last one ends at 40 s at the earliest.
    assert numbers(frame, "finished_s").max() >= 40.0
    assert late.max() > 5.0


def test_devices_share_links_by_the_setting_and_the_fleet_closes_them(
    tmp_path: Path, bundle: Bundle
) -> None:
    made: list[ScriptedTransport] = []

    def connect() -> ScriptedTransport:
        made.append(no_cloud())
        return made[-1]

    run(tmp_path, bundle, replay_settings(bundle, devices_per_link=4), connect=connect)
    assert len(made) == 2
    assert all(transport.closed for transport in made)


def test_device_memory_is_small_and_excludes_the_models(tmp_path: Path, bundle: Bundle) -> None:
    sizes: list[float] = []
    run(
        tmp_path,
        bundle,
        replay_settings(bundle),
        inspect=lambda fleet, clock: sizes.append(fleet.state_kib()),
    )
    assert 0.5 < sizes[0] < 8.0


def test_names_in_the_cloud_carry_the_run_and_no_id_of_the_log(
    tmp_path: Path, bundle: Bundle
) -> None:
    transport = no_cloud()
    run(tmp_path, bundle, replay_settings(bundle), connect=lambda: transport)
    paths = {sent.path for sent in transport.sent}
    assert paths <= {f"/v1/users/test.{user}/snapshot" for user in range(6)}
    assert paths


def test_abstracts_are_those_of_the_requests_they_accompany(tmp_path: Path, bundle: Bundle) -> None:
    """As in training: tau = t, the moment of request t, and nothing of event t itself."""
    transport = no_cloud()
    settings = replay_settings(bundle, warm_start=False, users=3)
    run(tmp_path, bundle, settings, connect=lambda: transport)
    writer, hours = TemplateAbstract(LOG.catalogue), LOG.local_hour_of_week()
    assert LOG.time is not None
    asked = 0
    for sent in transport.sent:
        request = SnapshotRequest.model_validate_json(sent.content)
        start = int(LOG.user_start[int(sent.path.split("/")[3].removeprefix("test."))])
        row = start + request.step
        context = RequestContext(float(LOG.time[row]), float(hours[row]))
        past = Window(LOG.item[start:row], LOG.time[start:row], hours[start:row])
        assert request.abstract == writer.write(past, context)
        asked += 1
    assert asked >= 3


def test_target_rank_is_expected_and_infinite_for_what_was_not_ranked() -> None:
    scores = np.array([0.5, 2.0, 0.5, 0.5], dtype=np.float32)
    response = Response(
        step=3,
        items=np.array([20], dtype=np.int32),
        source="local",
        candidates=np.array([10, 20, 30, 50], dtype=np.int32),
        scores=scores,
        uncalibrated=scores,
        structural=scores,
        diagnostics=Diagnostics(),
    )
    ranks = [target_rank(response.candidates, scores, item) for item in (20, 30, 40, 99)]
    assert [rank.expected for rank in ranks] == [1.0, 3.0, float("inf"), float("inf")]
