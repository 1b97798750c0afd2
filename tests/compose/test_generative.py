"""LSC4Rec in containers: a generator writes the candidates, devices re-rank and choose requests."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from tests.compose.conftest import up_without_vllm
from tests.support.compose import (
    ROOT,
    SCENARIO,
    SCENARIO_S,
    SMALL_LOG,
    Stack,
    assert_answered,
    cloud_metric,
)

pytestmark = pytest.mark.compose

SOURCE = 'scalrec_candidates_total{{source="{}"}}'
WRITTEN = SOURCE.format("generative")
WAIT_S = 120


@pytest.fixture(scope="module")
def generative_stack(engine: None, env: dict[str, str]) -> Iterator[Stack]:
    left = {"SCALREC_DEVICE__POLICY", "SCALREC_DEVICE__BUDGET", "SCALREC_DEVICE__BUDGET_SCOPE"}
    given = {name: value for name, value in env.items() if name not in left}
    given["SCALREC_GENERATIVE__EPOCHS"] = "1"
    files = (SMALL_LOG, ROOT / "deploy" / "generative.yml")
    with up_without_vllm("scalrec-test-generative", given, files) as stack:
        yield stack


def test_candidates_are_written_and_the_page_names_policy_and_ranking(
    generative_stack: Stack, ports: dict[str, int]
) -> None:
    [cloud] = generative_stack.containers("cloud")
    assert cloud["HostConfig"]["ReadonlyRootfs"]
    assert cloud["HostConfig"]["CapDrop"] == ["ALL"]
    deadline = time.monotonic() + WAIT_S
    while not cloud_metric(cloud, WRITTEN):
        assert time.monotonic() < deadline, generative_stack("logs", "--tail=40", "cloud", "fleet")
        time.sleep(1)
    for source in ("semantic", "no_tokens"):  # whoever asks tells what is needed
        assert cloud_metric(cloud, SOURCE.format(source)) == 0

    state = httpx.get(f"http://127.0.0.1:{ports['dashboard']}/state", trust_env=False).text
    assert "inconsistency" in state
    assert "collaborative" in state


def test_a_scenario_with_outages_is_answered_in_full(generative_stack: Stack) -> None:
    generative_stack("run", "--rm", "-T", "loadtest", *SCENARIO, timeout_s=SCENARIO_S)

    assert_answered(generative_stack)
    [cloud] = generative_stack.containers("cloud")
    assert cloud_metric(cloud, WRITTEN) > 0
