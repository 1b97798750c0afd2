"""A gate holds only if its figures say so."""

from __future__ import annotations

import pytest

from experiments.gates import Check, Gate, judge, meets
from experiments.record import Figure, Record
from experiments.selection import Place


def figure(low: float, high: float) -> Figure:
    return Figure((low + high) / 2, low, high, 10)


@pytest.mark.parametrize(
    ("require", "low", "high", "met"),
    [
        ("above", 0.01, 0.02, True),
        ("above", -0.01, 0.02, False),
        ("below", -0.02, -0.01, True),
        ("below", -0.02, 0.01, False),
        ("not below", -0.01, 0.02, True),
        ("not below", -0.02, -0.01, False),
        ("not above", -0.01, 0.02, True),
        ("not above", 0.01, 0.02, False),
    ],
)
def test_what_is_required_of_an_interval(require: str, low: float, high: float, met: bool) -> None:
    check = Check.model_validate({"of": "gain", "require": require})
    assert meets(check, figure(low, high)) is met
    assert not meets(check, Figure(None, None, None, 0))


def test_at_least_looks_at_the_value() -> None:
    check = Check(of="share", at_least=0.6)
    assert meets(check, figure(0.5, 0.7))
    assert not meets(check, figure(0.5, 0.69))
    with pytest.raises(ValueError, match="either require or at_least"):
        Check(of="share")


def made(figures: dict[tuple[str, str, str], Figure], record: Record) -> Record:
    keys = {
        Place(profile=profile, variant="base", setting="S1", gap=gap).key(name): found
        for (profile, name, gap), found in figures.items()
    }
    return record.model_copy(update={"differences": keys, "ratios": {}})


def test_all_and_any_and_the_figure_that_decides(record: Record) -> None:
    mixed = made(
        {
            ("tiny", "gain", "5"): figure(0.03, 0.05),
            ("tiny", "gain", "10"): figure(-0.01, 0.02),
            ("small", "gain", "5"): figure(0.01, 0.02),
        },
        record,
    )
    gates = {
        "every": Gate(title="t", checks=(Check(of="gain", require="above"),)),
        "some": Gate(title="t", checks=(Check(of="gain", require="above", quantifier="any"),)),
        "after": Gate(title="t", checks=(Check(of="gain", require="above"),), only_if=("every",)),
        "at-5": Gate(title="t", checks=(Check(of="gain", require="above", gaps=("5",)),)),
        "missing": Gate(title="t", checks=(Check(of="loss", require="above"),)),
    }
    tiny, small = judge(gates, mixed, "tiny"), judge(gates, mixed, "small")
    assert {name: v.status for name, v in tiny.items()} == {
        "every": "fails",
        "some": "holds",
        "after": "not applicable",
        "at-5": "holds",
        "missing": "not applicable",
    }
    assert "/10/" in tiny["every"].evidence[0].key  # the worst
    assert "/5/" in tiny["some"].evidence[0].key  # the best
    assert tiny["after"].reason == "every not met"
    assert small["after"].status == "holds"


def test_gates_of_the_invented_scores(record: Record, gates: object) -> None:
    verdicts = judge(gates.gates, record, "tiny")  # type: ignore[attr-defined]
    statuses = {name: verdict.status for name, verdict in verdicts.items()}
    for missing in ("G5", "G6"):  # nothing was re-retrieved, nor ranked without a cloud
        assert statuses.pop(missing) == "not applicable"
    assert set(statuses.values()) == {"holds"}
