"""RA-Rec: vectors of an ID model as soft prompts of a frozen text model, aligned by contrast.

Source: Yu et al., arXiv 2402.04527 (abstract, introduction and summaries; no code is public). The
text model reads 4 learned instructions, then an ID model's state and the vectors of its user's last
5 items, each mapped into word space by one small network, then the abstract. Its pooled state goes
through a linear map beside an MLP to e, which ranks by <e, v_i> / .05 + b_i with the ID model's own
vectors v and biases b: with vectors alone e would first have to learn how popular each item is.
Only maps and instructions learn, by a softmax at temperature .05 over the targets of a batch and 4
hard negatives a request (items that the ID model ranks in its first 50 and that did not follow).
With Q_i the chance that item i is among the candidates, log Q_i is taken off its logit (Yi et
al., RecSys 2019): popular items are candidates more often, which is no reason to rank them lower.

In the cloud (RARec) the ID model is a SASRec of 200 events and all is of tau. On the device
(RARec-D) it is the device's own window and the text model's first 2 layers, and all is of t.

Declared simplifications: the run's text model (MiniLM as a rule) for LLaMA 7B and above; prompts at
the input alone, not in every layer; at most 8,192 training requests, two passes; no file for ONNX.
Times are known as far as the abstract tells them and the ID model reads them. With
embedder.backend=hashing a small random transformer stands in for the text model.

With MiniLM .26 million numbers learn, of 23 million (RARec-D: 16). On one core in bfloat16 a
request of 96 tokens beside its prompts takes about 24 ms alone and 7 ms in batches (RARec-D: 9 and
3), a training request 15 ms (RARec-D: 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from launch.model_files import resolve_model
from shared.progress import Progress
from training.backbone.evaluate import encode_requests
from training.backbone.fit import TrainedBackbone
from training.background import in_thread
from training.baselines.base import (
    BATCH,
    CLOUD_WINDOW,
    FLOAT_BYTES,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    best_items,
    mean_ndcg10,
    sampled,
    weights_in,
)
from training.baselines.language.alignment import (
    AlignmentOptions,
    PromptedRequests,
    align,
)
from training.baselines.language.remembered import TIMED, Arrays, RememberedStates, request_us
from training.baselines.language.soft_prompts import (
    INSTRUCTIONS,
    FrozenText,
    Precision,
    PromptWords,
    SoftPrompted,
    hashed,
    pretrained,
)
from training.baselines.structure import structural_at
from training.learning import reproducible
from training.run import TrainingRun

JUDGED = 500  # validation requests that judge a pass
ROWS = 64  # texts that are read together
CHOSEN_AT = 5  # gap of the validation requests that judge a cloud method


@dataclass(frozen=True, kw_only=True)
class RaRec:
    """Options.

    Attributes:
        reads: "cloud" for RARec, "device" for RARec-D.
        layers: of the text model that are used; None for all.
        latest: items whose vectors are prompts beside the state.
        requests: training requests, drawn once.
        negatives: of a request, drawn anew in every pass from the ID model's first ``among``.
        precision: of the text model's products; bfloat16 is slow where a processor lacks it.
    """

    reads: Reads = "cloud"
    layers: int | None = None
    latest: int = 5
    requests: int = 8192
    negatives: int = 4
    among: int = 50
    temperature: float = 0.05
    batch: int = 32
    epochs: int = 2
    learning_rate: float = 1e-3
    precision: Precision = "bfloat16"

    async def fit(self, fitting: Fitting) -> FittedRaRec:
        """As ``Baseline.fit``.

        Raises:
            ConfigError: the settings name a text model that is not on this machine.
        """
        window = CLOUD_WINDOW if self.reads == "cloud" else None
        backbone = await fitting.sibling(window=window, backbone="sasrec").backbone()
        return await in_thread(
            lambda shown: self.fit_on(fitting, backbone, shown), fitting.progress
        )

    def fit_on(
        self, fitting: Fitting, backbone: TrainedBackbone, progress: Progress
    ) -> FittedRaRec:
        """Align ``backbone`` with the text model."""
        text, words = self.text_model(fitting.run)
        with reproducible(fitting.seed, fitting.threads):
            model = SoftPrompted(text, backbone.model.config.dim)
            kind = ListingRaRec if self.reads == "cloud" else FittedRaRec
            fitted = kind(options=self, model=model, words=words, backbone=backbone)
            pairs = fitting.validation[0 if self.reads == "device" else CHOSEN_AT]
            judged = sampled(pairs, JUDGED)

            def judge() -> float:
                fitted.forget()
                return mean_ndcg10(fitting.world, judged, fitted.scores)

            align(
                model,
                words,
                backbone.table.vectors.detach(),
                backbone.table.bias.detach(),
                training_requests(self, fitting, fitted),
                self._alignment(fitting),
                judge,
                seed=fitting.seed,
                progress=progress,
            )
        fitted.forget()
        rows = fitting.validation[0].fresh[:TIMED]
        if len(rows):
            texts = [fitting.world.abstracts[row] for row in rows.tolist()]
            fitted.tokens = fitted.read_per_request(texts)
        if self.reads == "device" and fitting.most_epochs is None:
            fitted.device_us = request_us(lambda row: fitted.embed(fitting.world, row), rows)
        return fitted

    def _alignment(self, fitting: Fitting) -> AlignmentOptions:
        return AlignmentOptions(
            batch=self.batch,
            epochs=fitting.epochs(self.epochs),
            negatives=self.negatives,
            temperature=self.temperature,
            learning_rate=self.learning_rate,
        )

    def text_model(self, run: TrainingRun) -> tuple[FrozenText, PromptWords]:
        """As the run's embedder pools and cuts."""
        wanted = run.settings.embedder
        pooling, most = wanted.pooling, wanted.max_tokens
        if run.embedder.identity.backend == "hashing":
            return hashed(pooling=pooling, max_tokens=most, layers=self.layers)
        return pretrained(
            resolve_model(wanted.model, cache=run.settings.cache),
            pooling=pooling,
            max_tokens=most,
            layers=self.layers,
            precision=self.precision,
        )


@dataclass(eq=False, kw_only=True)
class FittedRaRec:
    """The text model with its prompts, and the ID model they come from.

    Attributes:
        tokens: that the text model reads per request, on the mean.
        device_us: of a request, its text at hand; None where it was not measured.
    """

    options: RaRec
    model: SoftPrompted
    words: PromptWords
    backbone: TrainedBackbone
    tokens: float = 0.0
    device_us: float | None = None
    _read: RememberedStates = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Read anew from now on: the weights have changed."""
        self._read = RememberedStates(self.embed)

    @property
    def costs(self) -> MethodCosts:
        """A device would hold the text model in int8 and the rest in float32."""
        text = weights_in(self.model.text)
        rest = weights_in(self.model, self.backbone.model, self.backbone.table) - text
        cloud = self.options.reads == "cloud"
        return MethodCosts(
            parameters=text + rest,
            device_bytes=0 if cloud else text + FLOAT_BYTES * rest,
            cloud_tokens=self.tokens if cloud else 0.0,
            device_us=self.device_us,
        )

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """[B, I] <e, v_i> / temperature + b_i."""
        [e] = self._read.of(world, stale if self.options.reads == "cloud" else fresh)
        table = self.backbone.table
        meant = torch.from_numpy(e) @ table.vectors.detach().T
        return meant / self.options.temperature + table.bias.detach()

    def prompts(self, world: World, rows: Rows) -> Tensor:
        """[B, 1 + latest, d] the ID model's state, and the vectors of the last items, newest last;
        zeros in the place of items that a short history lacks."""
        model, table, latest = self.backbone.model, self.backbone.table, self.options.latest
        windows = world.windows(rows, model.config.window)
        e_str, _ = encode_requests(model, table, windows)
        place = windows.length[:, None] + torch.arange(-latest, 0)
        items = windows.item.gather(1, place.clamp(min=0))
        vectors = table.vectors.detach()[items] * (place >= 0)[:, :, None]
        return torch.cat([e_str[:, None], vectors], dim=1)

    def read_per_request(self, texts: Sequence[str]) -> float:
        """Mean tokens that the text model reads for one of ``texts``, prompts included."""
        _, mask = self.words.of(texts)
        return float(mask.sum(1).double().mean()) + INSTRUCTIONS + 1 + self.options.latest

    @torch.no_grad()
    def embed(self, world: World, rows: Rows) -> Arrays:
        """e [B, d], computed anew."""
        texts = [world.abstracts[row] for row in rows.tolist()]
        prompts = self.prompts(world, rows)
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.empty((len(rows), prompts.shape[2]), dtype=np.float32)
        self.model.eval()
        for start in range(0, len(order), ROWS):
            some = order[start : start + ROWS]
            ids, mask = self.words.of([texts[place] for place in some])
            found[some] = self.model(prompts[torch.from_numpy(some)], ids, mask).numpy()
        return (found,)


class ListingRaRec(FittedRaRec):
    """RARec in the cloud, which makes a list of its own."""

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        """[B, N] the items with the highest scores at ``stale``, of those new to the user."""
        return best_items(world, stale, self.scores(world, stale, stale), count)


def training_requests(options: RaRec, fitting: Fitting, fitted: FittedRaRec) -> PromptedRequests:
    """Training steps, drawn once, with what the text model is to read and to tell apart."""
    steps = fitting.run.steps
    drawn = np.random.default_rng(fitting.seed).permutation(steps.rows(steps.trained_on))
    rows = np.sort(drawn[: options.requests])
    world, target = fitting.world, fitting.world.requests.target[torch.from_numpy(rows)]
    return PromptedRequests(
        prompts=fitted.prompts(world, rows),
        texts=[world.abstracts[row] for row in rows.tolist()],
        target=target,
        confused=confused(fitted.backbone, world, rows, target, options.among),
    )


@torch.no_grad()
def confused(
    backbone: TrainedBackbone, world: World, rows: Rows, target: Tensor, count: int
) -> Tensor:
    """[R, count] items that the ID model ranks first, without the target [R] and what is barred."""
    found = []
    for at in torch.split(torch.arange(len(rows)), BATCH):
        some = rows[at.numpy()]
        scores = structural_at(backbone, world, some)
        scores.scatter_(1, target[at, None], -torch.inf)
        count = min(count, world.n_items - 1)
        found.append(best_items(world, some, scores, count))
    return torch.cat(found)
