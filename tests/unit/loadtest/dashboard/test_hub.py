"""News of several processes, added up; runs that follow one another; wishes of the page."""

import pytest

from loadtest.dashboard.bins import Bin
from loadtest.dashboard.hub import SILENT_S, Hub
from loadtest.dashboard.view import View
from shared.errors import ConfigError
from tests.support.live_records import facts, refresh, request, update


def filled(requests: int, *, calibrating: bool = True, rank: float = 1.0) -> Bin:
    one = Bin()
    for _ in range(requests):
        one.request(request(rank=rank), calibrating=calibrating)
    return one


def drawn(hub: Hub) -> dict:
    figures = hub.look(View())
    assert figures is not None
    return figures


def test_processes_are_added_up() -> None:
    hub = Hub()
    hub.offer(update("a", {0: filled(3), 1: filled(1)}))
    hub.offer(update("b", {0: filled(2)}, cloud_up=False, breakers={"open": 2}))
    figures = drawn(hub)
    assert figures["processes"] == 2
    assert (figures["devices"], figures["due"], figures["answered"]) == (10, 200, 20)
    assert figures["breakers"] == {"closed": 1, "open": 2}
    assert figures["cloud_up"] == 1
    assert [row["n"] for row in figures["rows"]] == [5, 1]
    assert figures["total"]["requests"] == figures["recent"]["requests"] == 6


def test_the_same_news_twice_change_nothing_and_newer_bins_replace_older() -> None:
    hub = Hub()
    for _ in range(2):
        hub.offer(update("a", {0: filled(3)}))
    assert drawn(hub)["total"]["requests"] == 3
    hub.offer(update("a", {0: filled(5)}, whole=False))
    assert drawn(hub)["total"]["requests"] == 5


def test_a_view_that_was_restarted_asks_for_everything() -> None:
    hub = Hub()
    assert hub.offer(update("a", {7: filled(2)}, whole=False)).resend
    assert not hub.offer(update("a", {0: filled(9), 7: filled(2)})).resend
    assert drawn(hub)["total"]["requests"] == 11


def test_one_run_at_a_time_and_the_next_when_it_is_over() -> None:
    now = [0.0]
    hub = Hub(lambda: now[0])
    hub.offer(update("a", {0: filled(3)}))
    with pytest.raises(ConfigError, match=r"dashboard\.run"):
        hub.offer(update("z", facts=facts("other")))
    hub.offer(update("a", status="finished", whole=False))
    hub.offer(update("z", {0: filled(1)}, facts=facts("other")))
    assert drawn(hub)["facts"]["run"] == "other"
    assert drawn(hub)["total"]["requests"] == 1
    now[0] += SILENT_S + 1
    assert drawn(hub)["silent"] == 1
    hub.offer(update("a", facts=facts("third")))
    assert drawn(hub)["facts"]["run"] == "third"


def test_bins_of_other_widths_cannot_be_added() -> None:
    hub = Hub()
    hub.offer(update("a"))
    with pytest.raises(ConfigError, match="duration"):
        hub.offer(update("b", facts=facts(width_s=2.0)))


def test_wishes_reach_every_process_with_its_next_news() -> None:
    hub = Hub()
    with pytest.raises(ConfigError, match="no run"):
        hub.ask(cloud="down")
    first = hub.offer(update("a")).wish
    hub.ask(cloud="down")
    hub.ask(k=9)
    hub.ask(calibrate=False)
    wish = hub.offer(update("a", whole=False)).wish
    assert wish == hub.offer(update("b")).wish
    assert (wish.cloud, wish.k, wish.calibrate) == ("down", 9, False)
    assert wish.revision == first.revision + 3
    assert drawn(hub)["wish"] == {"cloud": "down", "k": 9, "calibrate": False}


def test_what_cannot_be_changed_is_refused() -> None:
    hub = Hub()
    hub.offer(update(facts=facts(k=None, policy="never")))
    with pytest.raises(ConfigError, match="never, which has no k"):
        hub.ask(k=3)
    hub.offer(update(status="finished"))
    with pytest.raises(ConfigError, match="no run is going on"):
        hub.ask(cloud="down")
    hub.offer(update(facts=facts("fused", calibrate=None, ranking="collaborative, alpha = 0.2")))
    assert drawn(hub)["wish"]["calibrate"] is None
    with pytest.raises(ConfigError, match=r"alpha = 0\.2, which has nothing to calibrate"):
        hub.ask(calibrate=True)
    hub.offer(update(facts=facts("fused"), status="finished"))
    hub.offer(update(facts=facts("virtual", controllable=False)))
    with pytest.raises(ConfigError, match="virtual clock"):
        hub.ask(cloud="down")


def test_three_answers_are_compared_on_the_same_requests() -> None:
    hub, mixed = Hub(), filled(4, rank=1.0)
    mixed.merge(filled(100, calibrating=False, rank=3.0))
    hub.offer(update("a", {0: mixed}))
    recent = drawn(hub)["recent"]
    assert (recent["scored"], recent["calibrated"], recent["uncalibrated"]) == (4, 1.0, 0.5)
    hub.offer(update("a", {0: filled(100, calibrating=False)}))
    recent = drawn(hub)["recent"]
    assert (recent["scored"], recent["calibrated"], recent["uncalibrated"]) == (100, None, 0.5)


def test_figures_of_the_cloud_and_the_window() -> None:
    hub, early, late = Hub(), filled(6), filled(4)
    early.refresh(refresh(attempts=2))
    late.refresh(refresh(outcome="refused", latency_ms=10.0))
    hub.offer(update("a", {0: early, 30: late}, replay_s=30.2))
    figures = drawn(hub)
    assert figures["recent"]["requests"] == 4
    total = figures["total"]
    assert total["saved"] == pytest.approx(1 - 3 / 10)
    assert total["per_request"] == pytest.approx(0.2)
    assert (total["refused"], total["refreshes"]) == (1, 2)
    assert total["outcomes"] == {"fresh": 1, "refused": 1}
    assert total["ages"]["1-2"] == 10
    assert len(figures["rows"]) == 31
    assert figures["rows"][30]["calibrated"] == 1.0
    assert figures["rows"][20]["calibrated"] is None
    assert figures["rows"][5]["calibrated"] == 1.0  # six requests within its last ten seconds
    assert figures["rows"][5]["p50"] is None
    assert [figures["rows"][n]["up"] for n in (0, 5)] == [1.0, 1]
