"""What an advice does not know, in sentences."""

from __future__ import annotations

import numpy as np

from reports import text
from scalrec.advice.model import Figures
from scalrec.settings import Settings
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import MIN_HISTORY, Split, trained_after
from training.splitting import split_of


def unknown(
    figures: Figures, settings: Settings, log: InteractionLog, *, quick: bool
) -> tuple[str, ...]:
    """Everything a reader has to take into account, the most important first."""
    said = [*_of_quick(quick, log), *_of_embedder(settings)]
    said += [
        f"One seed ({settings.seed}): intervals are over users, not over trainings. Repeat with "
        "--seed to see what another training would say.",
        "Epochs, the fusion weight and how far each age is trusted were chosen on the "
        f"{_steps(settings.training.validation_steps)} before those scored; the interval "
        "recommended was chosen on the very steps it is shown for.",
        _of_steps(figures, settings),
        f"Split {_split_told(settings, log)}.",
        f"Scored at ages {', '.join(map(str, figures.ages))}; between them NDCG@10 is taken to "
        "be linear in log(1 + age).",
    ]
    said += _of_short_histories(figures, settings, log)
    said += [
        _of_rankings(settings.profile),
        "A device that refreshes every k requests holds snapshots of ages 0 to k - 1, each as "
        "often, and the cloud always answers; `scalrec simulate` shows outages.",
        "A logged choice counts as the only right answer; nobody was shown these rankings.",
    ]
    if log.terms:
        said.append(f"Terms of the data: {log.terms}")
    return tuple(said)


def _of_quick(quick: bool, log: InteractionLog) -> list[str]:
    if not quick:
        return []
    return [
        f"--quick: few epochs, {log.n_users:,} users. The device's own model is weaker than it "
        "will be, which favours the cloud; decide on a run without --quick."
    ]


def _of_embedder(settings: Settings) -> list[str]:
    if settings.embedder.backend != "hashing":
        return []
    return ["Texts were embedded by hashing words, for tests only: no language model was asked."]


def _of_steps(figures: Figures, settings: Settings) -> str:
    scored = f"{figures.users:,} users, {figures.requests:,} requests"
    if settings.training.split == "global":
        return (
            f"Scored on {_steps(settings.paper.steps)} at most of each of {scored}: of their "
            f"first {settings.training.test_steps} after the instant of the split."
        )
    return (
        f"Scored on the last {_steps(settings.paper.steps)} at most of each of {scored}; users "
        "with too short a history are trained on but not scored."
    )


def _of_short_histories(figures: Figures, settings: Settings, log: InteractionLog) -> list[str]:
    oldest, split = figures.ages[-1], _split(settings, log)
    steps = split.last_test(settings.paper.steps).step
    short = float(np.mean(steps < MIN_HISTORY + oldest)) if len(steps) else 0.0
    if not short:
        return []
    return [
        f"At {text.percent(short, 1)} of the requests the user had too few events for a snapshot "
        f"of age {oldest}; their oldest one stands for it."
    ]


def _split_told(settings: Settings, log: InteractionLog) -> str:
    after = trained_after(log, _split(settings, log))
    return text.split_told(after, settings.training.split)


def _split(settings: Settings, log: InteractionLog) -> Split:
    return split_of(log, settings.training)


def _of_rankings(profile: DeviceProfile) -> str:
    ranked = ["the cloud's cached candidates"]
    if profile.unite_history:
        ranked.append("its own history")
    if profile.table != "none" and profile.local_candidates:
        ranked.append("all items of its own table")
    alone = (
        f"its own history and {profile.starter_items} popular items"
        if profile.table == "none"
        else "all items of its own table"
    )
    return (
        f"With a snapshot this device ranks {text.joined(ranked)}, without any cloud {alone}; both "
        "with the same own score (structure, counts and words), which ships to the device in "
        "either case. The opponents rank what it ranks without the cloud; which of them is best "
        "was seen on the very steps it is shown for."
    )


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"
