"""What is measured beside the ranks: how well cues tell what staleness cost a request."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from device_runtime.state.cues import CUES
from experiments.studies.scalrec.extras import GapReport, correlations
from experiments.studies.scalrec.scores import Scores
from shared.profile import DeviceProfile
from training.calibration.age_rules import UNRULED
from training.calibration.pairs import Pairs
from training.pools import Pools


def report(gap: int, cues: torch.Tensor, log_p_loss: np.ndarray) -> GapReport:
    rows = np.arange(len(cues))
    return GapReport(
        gap=gap,
        pairs=Pairs(rows, rows),
        cues=cues,
        r=torch.sigmoid(-cues[:, CUES.index("drift")]),
        rule=UNRULED,
        loss=np.zeros(len(cues)),  # not one request lost a place
        log_p_loss=log_p_loss,
    )


def test_a_cue_can_tell_a_loss_that_no_rank_shows() -> None:
    cues = torch.randn(200, len(CUES), generator=torch.Generator().manual_seed(0))
    drift = cues[:, CUES.index("drift")].numpy().astype(np.float64)
    found = correlations([report(0, cues, np.zeros(200)), report(5, cues, drift**3)])
    assert found["logp_drift_gap5"] == pytest.approx(1.0)
    assert found["logp_unreliability_gap5"] == pytest.approx(1.0)
    assert abs(found["logp_omega_gap5"]) < 0.3
    assert found["corr_drift_gap5"] == 0.0
    assert found["corr_unreliability"] == 0.0
    assert 0.0 < found["logp_drift"] < 1.0  # a fresh snapshot lost nothing
    assert not any(name.endswith("_gap0") for name in found)


def test_the_targets_log_probability_is_over_what_may_be_recommended() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.5, 3.0], [0.0, 1.0, 4.0, 2.0]])
    barred = torch.tensor([[True, False, False, True], [False, False, True, False]])
    for barring in (None, barred):
        view = Scores.__new__(Scores)
        view.pools = Pools(
            profile=DeviceProfile(),
            vectors=torch.zeros(4, 2),
            structural=scores,
            target=torch.tensor([1, 2]),
            barred=barring,
            own=None,
            starter=torch.zeros(0, dtype=torch.long),
        )
        among = [[0, 1, 2, 3]] * 2 if barring is None else [[1, 2], [0, 1, 2, 3]]  # target counts
        wanted = [
            float(row[target] - torch.logsumexp(row[items], 0))
            for row, target, items in zip(scores, (1, 2), among, strict=True)
        ]
        assert view.log_p(scores).tolist() == pytest.approx(wanted)
