"""A process's feed: what it reports per tick, and that it does what the page asked for."""

from __future__ import annotations

import msgspec

from loadtest.dashboard.feed import Feed
from loadtest.dashboard.messages import Reply, Update, Wish, decode_update
from loadtest.timing.switched_availability import Mode
from shared.errors import ConfigError
from tests.support.live_records import facts, refresh, request, tick


class Sink:
    """Keeps updates as they would travel; answers what it was told to."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.reply: Reply | None = None
        self.closed = False

    def offer(self, update: Update) -> Reply | None:
        self.updates.append(decode_update(msgspec.json.encode(update)))
        return self.reply

    def close(self) -> None:
        self.closed = True


class Controls:
    def __init__(self, *, has_k: bool = True, calibrates: bool = True) -> None:
        self.did: list[object] = []
        self._has_k, self._calibrates = has_k, calibrates

    def cloud(self, mode: Mode) -> None:
        self.did.append(mode)

    def refresh_every(self, k: int) -> None:
        if not self._has_k:
            raise ConfigError("has no k")
        self.did.append(k)

    def calibrate(self, on: bool) -> None:
        if not self._calibrates:
            raise ConfigError("nothing to calibrate")
        self.did.append(on)


def test_reports_everything_once_and_then_what_changed() -> None:
    sink = Sink()
    feed = Feed(facts(), "one", sink)
    feed.request(request(finished_s=0.1))
    feed.request(request(finished_s=7.3))
    feed.tick(tick(7.4, answered=2))
    feed.request(request(finished_s=7.6))
    feed.refresh(refresh(started_s=7.0, finished_s=7.7))
    feed.refresh(refresh(started_s=-1.0, finished_s=-0.5))
    feed.tick(tick(7.9, answered=3, cloud_up=False))
    feed.end("finished")
    first, second, last = sink.updates
    assert first.whole
    assert sorted(first.bins) == [0, 7]
    assert not second.whole
    assert sorted(second.bins) == [7]
    assert (first.bins[7].requests, second.bins[7].requests) == (1, 2)
    assert second.bins[7].refreshes == {"fresh": 1}
    assert (second.bins[7].up, second.bins[7].down) == (3, 1)
    assert (last.status, last.bins, last.answered) == ("finished", {}, 3)
    assert sink.closed


def test_a_record_counts_in_the_next_report_only_if_later() -> None:
    sink = Sink()
    feed = Feed(facts(), "one", sink)
    feed.request(request())
    feed.tick(tick(0.2))
    feed.request(request())
    assert sink.updates[0].bins[0].requests == 1


def test_sends_all_again_when_asked() -> None:
    sink = Sink()
    feed = Feed(facts(), "one", sink)
    feed.request(request(finished_s=0.0))
    feed.tick(tick(0.2))
    sink.reply = Reply(Wish(), resend=True)
    feed.tick(tick(5.2))
    sink.reply = None
    feed.tick(tick(5.4))
    assert [u.whole for u in sink.updates] == [True, False, True]
    assert sorted(sink.updates[-1].bins) == [0, 5]


def test_does_what_was_asked_once_and_scores_accordingly() -> None:
    sink, controls = Sink(), Controls()
    feed = Feed(facts(), "one", sink)
    feed.start(controls)
    sink.reply = Reply(Wish(1, "down"))
    feed.tick(tick(0.1))
    feed.tick(tick(0.2))
    sink.reply = Reply(Wish(3, "down", k=7, calibrate=False))
    feed.tick(tick(0.3))
    assert controls.did == ["down", 7, False]
    feed.request(request(finished_s=0.4))
    feed.tick(tick(0.5))
    assert sink.updates[-1].bins[0].face_value.requests == 1


def test_a_process_that_calibrates_nothing_goes_on() -> None:
    sink, controls = Sink(), Controls(calibrates=False)
    feed = Feed(facts(calibrate=None), "one", sink)
    feed.start(controls)
    feed.request(request(finished_s=0.1))
    sink.reply = Reply(Wish(1, "up", calibrate=True))
    feed.tick(tick(0.2))
    feed.request(request(finished_s=0.3))
    feed.tick(tick(0.4))
    assert controls.did == ["up"]
    scores = sink.updates[-1].bins[0]
    assert (scores.face_value.requests, scores.corrected.requests) == (2, 0)


def test_a_process_without_k_goes_on() -> None:
    sink, controls = Sink(), Controls(has_k=False)
    feed = Feed(facts(), "one", sink)
    feed.start(controls)
    sink.reply = Reply(Wish(1, "up", k=7))
    feed.tick(tick(0.1))
    feed.tick(tick(0.2))
    assert controls.did == ["up"]
    assert len(sink.updates) == 2
