"""One cell of the LSC4Rec experiments: an LLM, an SRM, and every way of bringing them together.

Recipe are ``list20``, ``list50`` and so on (the cloud's candidates), ``full`` (the whole
catalogue) and ``budget-5`` and so on (late lists of the longest kind, where the given percentage of
requests gets a list of the moment). The gap is how many events the cloud's history lacks: 0 is real
time, ``lsc4rec.lateness`` near real time. The device always knows the user's last event, except
under ``full`` with a gap. Scorers:

- ``llm``: the cloud's own ranking; ``popularity`` and, where users return, ``decayed``: counters;
- ``rerank-T``: the SRM within the list, trained in the way T: independent, cooperative (on the
  cloud's lists), adaptive (re-trained on the device), both;
- ``lsc4rec-T``: the same, fused with the cloud's scores (eqs. 8-10); ``lsc4rec``: with the T that
  validation chose; ``raw``: that one without normalisation; ``learned``: that one fused by weights
  fitted on validation lists, a bound of what fusion can give;
- ``second-late``, ``second`` (with ``lsc4rec.second_srm``): the independent SRM fused with one of
  the next seed in the place of the cloud, as late as the list and in real time: a bound of what a
  cloud could give that ranks as well as the device does;
- ``srm``: the independent SRM over the whole catalogue (DIN on a sample of users);
- ``inconsistency``, ``inconsistency-top10`` (over the first ten of either ranking), each with its
  threshold from validation requests, ``inconsistency-as-published`` (from requests whose targets
  the models were trained on) and ``oracle``: which requests ask. ``random`` ones, with the same
  endings, ask as often as inconsistency really did, in expectation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from device_runtime.ranking.list_fusion import fused
from device_runtime.state.cues import SHOWN
from experiments.studies.cell import CellScores
from experiments.studies.lsc4rec import costs, requesting
from experiments.studies.lsc4rec.counters import (
    decayed_ranks,
    decayed_scores,
    full_popularity_ranks,
)
from experiments.studies.lsc4rec.device_model import DeviceModel, cooperative_srm, independent_srm
from experiments.studies.lsc4rec.learned_fusion import fit_fusion, list_features
from experiments.studies.lsc4rec.lists import Listed, candidate_lists
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE, Ranks
from shared.progress import Progress
from training.background import in_thread
from training.collaboration.asked import Asked, Lists
from training.collaboration.cooperative import Cooperative
from training.collaboration.ranks import Sums, metrics_of, sample
from training.collaboration.reranking import (
    INDEPENDENT,
    Choice,
    Place,
    Reranker,
    choose,
    scores_of,
    unnormalised,
)
from training.collaboration.srm import ScorerSrm, Srm, full_ranks, list_scores
from training.generative.trained import TrainedGenerator
from training.run import TrainingRun, opened_run
from training.settings import Recipe

Floats = NDArray[np.float64]

BUDGETS = (5, 10, 20, 40)  # shares of requests that may ask the cloud, in percent
# Requests a candidate scorer ranks the catalogue for, at most: it needs a pass for each.
SCORER_USERS = 1_000


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellScores:
    """Train (or reuse stages) and evaluate on each user's last ``paper.steps`` test steps.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.train.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        device = await independent_srm(run)
        generator, listed, key = await candidate_lists(run)
        cooperative = await cooperative_srm(run, device, generator, listed, key)
        second = None
        if settings.lsc4rec.second_srm:
            second = (await independent_srm(run.with_seed(settings.seed + 1))).srm
        study = _Lsc4recStudy(run, device, generator, listed, cooperative, second)
        return await in_thread(study.cell, progress)


class _Lsc4recStudy:
    def __init__(
        self,
        run: TrainingRun,
        device: DeviceModel,
        generator: TrainedGenerator,
        listed: Listed,
        cooperative: Cooperative,
        second: Srm | None,
    ) -> None:
        self.run, self.device, self.generator, self.listed = run, device, generator, listed
        self.cooperative, self.second, self.chosen = cooperative, second, run.settings.lsc4rec
        self.exclude = run.policy == "exclude"
        srms = {INDEPENDENT: device.srm, "cooperative": cooperative.srm}

        def reranker(asked: Asked, lists: Mapping[int, Lists]) -> Reranker:
            return Reranker(
                srms=srms,
                asked=asked,
                lists=lists,
                chosen=self.chosen,
                exclude_seen=self.exclude,
            )

        self.validation = reranker(listed.validation, listed.of_validation)
        self.test = reranker(listed.test, listed.of_test)
        late, longest = self.chosen.lateness, self.chosen.longest
        first = (longest, late)
        others = [(n, gap) for n in self.chosen.lists for gap in (0, late) if (n, gap) != first]
        self.places: tuple[Place, ...] = (first, *others)
        self.sums = Sums(listed.test)
        self.sampled: Sums | None = None
        self.extras: dict[str, float] = {}

    def cell(self, progress: Progress) -> CellScores:
        with progress.task("choosing on validation requests") as task:
            choice = choose(self.validation, self.places)
            task.advance()
        self._note(choice)
        with progress.task("ranking test requests", len(self.places) + 1) as task:
            collaborative = {}
            for place in self.places:
                collaborative[place] = self._lists(place, choice)
                task.advance()
            if self.second is not None:
                for gap in (0, self.chosen.lateness):
                    self._with_second(self.second, gap)
            self._full()
            task.advance()
        self._requests(choice, collaborative)
        self._costs()
        frames = [sums.frame() for sums in (self.sums, self.sampled) if sums is not None]
        return CellScores(pl.concat(frames), self.extras)

    def _lists(self, place: Place, choice: Choice) -> Ranks:
        """Adds every scorer at one place; ranks [R] of the chosen collaboration."""
        test, (n, gap) = self.test, place
        initial = test.initial(place)
        items = test.lists[gap].items[:, :n]
        popularity = self.run.popularity()[items]
        found = {"llm": test.ranks(initial, place), "popularity": test.ranks(popularity, place)}
        if not self.exclude:
            counted = decayed_scores(test.asked, items, HALF_LIFE)
            found["decayed"] = test.ranks(counted, place)
        scores = scores_of(test, place, choice.rates)
        for name, rerank in scores.items():
            found[f"rerank-{name}"] = test.ranks(rerank, place)
            alpha = choice.alphas[name, place]
            found[f"lsc4rec-{name}"] = test.ranks(fused(initial, rerank, alpha), place)
        found["lsc4rec"] = found[f"lsc4rec-{choice.best}"]
        raw = unnormalised(initial, scores[choice.best], choice.raw[place])
        found["raw"] = test.ranks(raw, place)
        found["learned"] = self._learned(place, choice, scores[choice.best])
        for scorer, ranks in found.items():
            self.sums.add(f"list{n}", gap, scorer, metrics_of(ranks))
        self.extras[f"recall_list{n}_gap{gap}"] = float(
            np.isfinite(found["llm"]["expected"]).mean()
        )
        return found["lsc4rec"]

    def _learned(self, place: Place, choice: Choice, rerank: NDArray[np.floating]) -> Ranks:
        """Ranks [R] by the fusion that validation lists teach."""
        held, (n, gap) = self.validation, place
        popularity = self.run.popularity()

        def features(of: Reranker, rerank: NDArray[np.floating]) -> NDArray[np.float64]:
            counts = popularity[of.lists[gap].items[:, :n]]
            return list_features(of.initial(place), rerank, counts)

        is_target = held.lists[gap].items[:, :n] == held.asked.target[:, None]
        known = scores_of(held, place, choice.rates)[choice.best]
        fusion = fit_fusion(features(held, known), is_target, held.allowed[gap][:, :n])
        return self.test.ranks(fusion.scores(features(self.test, rerank)), place)

    def _with_second(self, second: Srm, gap: int) -> None:
        """Adds both SRMs' fusion on lists of one gap, the second in the place of the cloud."""
        held, test = self.validation, self.test
        for name, behind in [("second", 0), *([("second-late", gap)] if gap else [])]:
            known, asked = (
                list_scores(second, of.asked, of.lists[gap].items, gap=behind)
                for of in (held, test)
            )
            for n in self.chosen.lists:
                place = (n, gap)
                alpha, _ = held.best_alpha(held.plain(INDEPENDENT, place), place, known[:, :n])
                together = fused(asked[:, :n], test.plain(INDEPENDENT, place), alpha)
                metrics = metrics_of(test.ranks(together, place))
                self.sums.add(f"list{n}", gap, name, metrics)
                self.extras[f"alpha_{name}_list{n}_gap{gap}"] = alpha

    def _full(self) -> None:
        asked, exclude = self.listed.test, self.exclude
        some, sums = asked, self.sums
        if isinstance(self.device.srm, ScorerSrm):
            some = sample(asked, SCORER_USERS)
            sums = self.sampled = Sums(some)
        for gap in (0, self.chosen.lateness):
            ranks = full_ranks(self.device.srm, some, exclude_seen=exclude, gap=gap)
            sums.add("full", gap, "srm", metrics_of(ranks))
        popular = full_popularity_ranks(asked, self.run.popularity(), exclude_seen=exclude)
        self.sums.add("full", 0, "popularity", metrics_of(popular))
        if not exclude:
            half_life = HALF_LIFE
            counted = decayed_ranks(asked, len(self.run.log.catalogue), half_life)
            self.sums.add("full", 0, "decayed", metrics_of(counted))

    def _requests(self, choice: Choice, ranks: dict[Place, Ranks]) -> None:
        n, late = self.chosen.longest, self.chosen.lateness
        stale, fresh = metrics_of(ranks[n, late]), metrics_of(ranks[n, 0])
        deciding = self._deciding(choice.base)
        for budget in BUDGETS:
            setting = f"budget-{budget}"
            for suffix, (known, c) in deciding.items():
                at = requesting.threshold(known, budget / 100)
                asks, scorer = c >= at, f"inconsistency{suffix}"
                share = float(asks.mean())
                self.extras |= {
                    f"threshold_{scorer}_{budget}": at,
                    f"share_{scorer}_{budget}": share,
                }
                self.sums.add(setting, late, scorer, requesting.granted(stale, fresh, asks))
                by_chance = requesting.at_random(stale, fresh, share)
                self.sums.add(setting, late, f"random{suffix}", by_chance)
            best = requesting.best_share(stale, fresh, budget / 100)
            self.sums.add(setting, late, "oracle", requesting.granted(stale, fresh, best))

    def _deciding(self, base: str) -> dict[str, tuple[Floats, Floats]]:
        """c that a threshold is taken from, and c [R] of the test requests, by name's ending."""
        listed, held, test = self.listed, self.validation, self.test
        plain, top = self._inconsistencies(test, base), self._inconsistencies(test, base, SHOWN)
        found = {
            "": (self._inconsistencies(held, base), plain),
            "-top10": (self._inconsistencies(held, base, SHOWN), top),
        }
        if len(listed.trained_on):
            items = listed.of_trained_on.items
            known = requesting.inconsistencies(
                listed.of_trained_on,
                list_scores(test.srms[base], listed.trained_on, items),
                listed.trained_on.allowed(items, exclude_seen=self.exclude),
            )
            found["-as-published"] = (known, plain)
        return found

    def _inconsistencies(self, of: Reranker, base: str, top: int | None = None) -> Floats:
        late, n = self.chosen.lateness, self.chosen.longest
        return requesting.inconsistencies(
            of.lists[late], of.plain(base, (n, late)), of.allowed[late], top=top
        )

    def _note(self, choice: Choice) -> None:
        self.extras |= {f"rate_{name}": rate for name, rate in choice.rates.items()}
        self.extras |= {
            f"alpha_{name}_list{n}_gap{gap}": alpha
            for (name, (n, gap)), alpha in choice.alphas.items()
        }
        self.extras |= {f"alpha_raw_list{n}_gap{gap}": a for (n, gap), a in choice.raw.items()}
        self.extras |= {f"validation_{name}": v for name, v in choice.validation.items()}
        self.extras |= {f"chosen_{name}": float(name == choice.best) for name in choice.validation}

    def _costs(self) -> None:
        device, generator, asked = self.device, self.generator, self.listed.test
        n, dim = self.chosen.longest, self.run.settings.training.dim
        epochs = [epoch.seconds for epoch in self.cooperative.epochs]
        self.extras |= {
            "srm_parameters": float(device.parameters),
            "llm_parameters": float(generator.parameters),
            "srm_seconds_per_epoch": device.seconds_per_epoch,
            "cooperative_seconds_per_epoch": float(np.mean(epochs)),
            "llm_seconds_per_epoch": generator.seconds_per_epoch,
            "srm_inference_s": costs.srm_inference_s(device.srm, asked, n),
            "llm_inference_s": costs.llm_inference_s(generator, asked, n),
            "adaptation_s": costs.adaptation_s(dim, self.chosen),
        }
