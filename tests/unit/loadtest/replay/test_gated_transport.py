import asyncio
from typing import Any

import numpy as np
import pytest

from device_runtime.cloud.transport import TransportError, TransportResponse
from loadtest.replay.gated_transport import GatedTransport, ModelledLatency
from loadtest.timing.availability import AlwaysUp, NeverUp, PeriodicOutage
from loadtest.timing.virtual_loop import run_virtual
from tests.support.transports import ScriptedTransport

OK = TransportResponse(200, {}, b"snapshot")


def now() -> float:
    return asyncio.get_running_loop().time()


async def ask(gate: GatedTransport, timeout_s: float = 5.0) -> TransportResponse:
    return await gate.request("POST", "/x", headers={}, content=b"", timeout_s=timeout_s)


def test_open_gate_passes_the_answer_on() -> None:
    inner = ScriptedTransport([OK])

    async def main() -> None:
        gate = GatedTransport(inner, AlwaysUp(), now)
        assert await ask(gate) == OK
        await gate.rebuild()
        await gate.aclose()

    run_virtual(main)
    assert (len(inner.sent), inner.rebuilds, inner.closed) == (1, 1, True)


def test_gone_cloud_refuses_at_once_and_is_not_asked() -> None:
    inner = ScriptedTransport([OK])

    async def main() -> float:
        with pytest.raises(TransportError, match="refused"):
            await ask(GatedTransport(inner, NeverUp(), now))
        return now()

    assert run_virtual(main) == 0.0
    assert inner.sent == []


def test_hanging_cloud_leaves_the_end_to_the_callers_deadline() -> None:
    async def main() -> float:
        gate = GatedTransport(ScriptedTransport([OK]), NeverUp(), now, failure="hang")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await ask(gate)
        return now()

    assert run_virtual(main) == 5.0


def test_an_answer_on_its_way_when_the_cloud_goes_is_lost() -> None:
    inner = ScriptedTransport([OK], delay_s=2.0)

    async def main() -> float:
        await asyncio.sleep(9.0)
        with pytest.raises(TransportError):
            await ask(GatedTransport(inner, PeriodicOutage(20.0, 10.0), now))
        return now()

    assert run_virtual(main) == 11.0
    assert len(inner.sent) == 1


def test_the_cloud_comes_back() -> None:
    async def main() -> None:
        gate = GatedTransport(ScriptedTransport([OK]), PeriodicOutage(20.0, 10.0), now)
        await asyncio.sleep(19.5)
        with pytest.raises(TransportError):
            await ask(gate)
        await asyncio.sleep(0.5)
        assert await ask(gate) == OK

    run_virtual(main)


def round_trips(n: int, **options: Any) -> list[float]:
    async def main() -> list[float]:
        latency = ModelledLatency(0.05, np.random.default_rng(options.get("seed", 0)))
        gate = GatedTransport(ScriptedTransport([OK]), AlwaysUp(), now, latency=latency)
        took = []
        for _ in range(n):
            before = now()
            await ask(gate)
            took.append(now() - before)
        return took

    return run_virtual(main)


def test_modelled_latency_has_the_mean_asked_for_and_a_tail() -> None:
    took = np.array(round_trips(4000))
    assert took.mean() == pytest.approx(0.05, rel=0.05)
    assert took.min() > 0
    assert np.quantile(took, 0.95) == pytest.approx(0.1, rel=0.1)


def test_modelled_latency_is_seeded() -> None:
    assert round_trips(20) == round_trips(20) != round_trips(20, seed=1)
