"""What a study returns is checked before it is kept."""

from __future__ import annotations

import polars as pl
import pytest

from experiments import spec
from experiments.study import SCHEMA, STUDIES, CellResult, checked, find_study
from shared.errors import ConfigError, DataError
from tests.support.fake_study import invented


def test_good_scores_pass_in_the_schemas_order() -> None:
    scores = invented(4, 0)
    shuffled = scores.select(reversed(scores.columns)).with_columns(pl.col("n").cast(pl.Int64))
    result = checked(CellResult(shuffled, {"mean_r": 1}))
    assert result.scores.schema == SCHEMA
    assert result.scores.equals(scores)
    assert result.extras == {"mean_r": 1.0}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.drop("hr5"), "lack hr5"),
        (lambda s: s[:0], "no scores"),
        (lambda s: pl.concat([s, s[:1]]), "two rows for one user"),
        (lambda s: s.with_columns(part=pl.lit("some")), "the part 'some'"),
        (lambda s: s.with_columns(ndcg10=pl.col("n") + 1.0), "sums that n steps cannot have"),
        (lambda s: s.with_columns(hr10=pl.lit(-1.0)), "sums that n steps cannot have"),
        (lambda s: s.with_columns(hr10=pl.lit(None, pl.Float64)), "nulls"),
        (lambda s: s.with_columns(scorer=pl.lit("a/b")), "a scorer with a slash"),
    ],
)
def test_bad_scores_are_refused(change: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        checked(CellResult(change(invented(4, 0))))  # type: ignore[operator]


def test_a_study_that_is_not_there_is_named() -> None:
    assert find_study("tests.support.fake_study:run_cell").__name__ == "run_cell"  # type: ignore[attr-defined]
    for name in ("tests.support.nothing:run_cell", "tests.support.fake_study:walk", "nonsense"):
        with pytest.raises(ConfigError, match=f"{name} is not there"):
            find_study(name)


def test_every_experiment_names_its_study_by_an_id_that_is_somewhere() -> None:
    assert {spec.load(name).study for name in spec.names()} == set(STUDIES)
    for study, place in STUDIES.items():
        assert find_study(study) is find_study(place)
