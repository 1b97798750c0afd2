"""Under a global split nothing that anybody did from one instant on reaches what training makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract.writer import TemplateAbstract
from scalrec.jobs.enough import require_enough
from scalrec.settings import Settings
from shared.errors import ConfigError, DataError
from shared.interactions import Catalogue, InteractionLog
from shared.profile import DeviceProfile
from shared.progress import NullProgress
from shared.split import MIN_HISTORY, trained_after
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from tests.unit.training.test_leakage import FORMS, with_sessions_and_queries
from tests.unit.training.test_pipeline import settings_for, weights
from training.data.private import common_categories
from training.export.export import export_bundle
from training.run import TrainingRun
from training.semantic.anchors import write_abstracts
from training.semantic.embedding_cache import EmbeddingCache
from training.splitting import instant_of, log_at_split, policy_of, split_of
from training.stages.store import StageStore
from training.steps import told_to_writers, training_steps
from training.train import train
from training.trained import TrainedModel

DAY = 86_400.0
CUT = date(2001, 9, 22)
INSTANT = datetime(2001, 9, 22, tzinfo=UTC).timestamp()
KNOWN, ITEMS = 32, 40  # items from KNOWN on appear after the instant
LATE_USERS = (5, 11)  # who come after it


def two_ages() -> InteractionLog:
    """A log of two weeks before the instant and one after it, with newcomers of both kinds."""
    log = drifting_log(users=24, events=30, items=ITEMS)
    time = np.tile(INSTANT - 14 * DAY + np.linspace(0, 21 * DAY, 30), 24) + log.user * 60.0
    time = np.where(np.isin(log.user, LATE_USERS), time + 15 * DAY, time)
    item = np.where(time < INSTANT, log.item % KNOWN, log.item).astype(np.int32)
    categories = tuple(
        (*log.catalogue.categories[i], ("Vintage", "Modern")[i // KNOWN]) for i in range(ITEMS)
    )
    catalogue = dataclasses.replace(log.catalogue, categories=categories)
    catalogue = dataclasses.replace(
        catalogue, vocabulary=common_categories(catalogue, log.user, item)
    )
    assert set(item[time >= INSTANT].tolist()) - set(item[time < INSTANT].tolist())
    return with_sessions_and_queries(
        dataclasses.replace(log, time=time, item=item, catalogue=catalogue)
    )


def changed(log: InteractionLog) -> InteractionLog:
    """Other items, moments, sessions and queries after the instant; other words of later items."""
    assert log.time is not None
    assert log.session is not None
    assert log.query is not None
    late = log.time >= INSTANT
    other = np.random.default_rng(1).integers(1, ITEMS, len(log))
    items = log.catalogue
    later = [number >= KNOWN for number in range(ITEMS)]

    def worded(column: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"new {t}" if new else t for t, new in zip(column, later, strict=True))

    catalogue = dataclasses.replace(
        items,
        titles=worded(items.titles),
        texts=worded(items.texts),
        categories=tuple(
            ("Noir",) if new else kinds for kinds, new in zip(items.categories, later, strict=True)
        ),
    )
    item = np.where(late, (log.item + other) % ITEMS, log.item).astype(np.int32)
    catalogue = dataclasses.replace(
        catalogue, vocabulary=common_categories(catalogue, log.user, item)
    )
    query = zip(late.tolist(), log.query, strict=True)
    return dataclasses.replace(
        log,
        item=item,
        time=np.where(late, log.time + 0.3 * DAY, log.time),
        session=np.where(late, log.session + 100, log.session),
        query=tuple("other words" if is_late else said for is_late, said in query),
        catalogue=catalogue,
    )


def cut_short(log: InteractionLog) -> InteractionLog:
    """Without anything after the instant but for one event: later users and items are gone."""
    assert log.time is not None
    assert log.session is not None
    assert log.query is not None
    kept = log.time < INSTANT
    kept[log.events_of(0).stop - 1] = True
    users = [u for u in range(log.n_users) if u not in LATE_USERS]
    item = np.where(log.time < INSTANT, log.item, 0)[kept].astype(np.int32)
    user = np.searchsorted(users, log.user[kept]).astype(np.int32)
    catalogue = Catalogue(
        **{
            name: getattr(log.catalogue, name)[:KNOWN]
            for name in ("ids", "titles", "categories", "areas", "texts")
        }
    )
    vocabulary = common_categories(catalogue, user, item)
    return InteractionLog(
        name=log.name,
        user=user,
        item=item,
        time=log.time[kept],
        utc_offset_min=None,
        query=tuple(log.query[row] for row in np.flatnonzero(kept)),
        session=log.session[kept],
        user_ids=tuple(log.user_ids[u] for u in users),
        catalogue=dataclasses.replace(catalogue, vocabulary=vocabulary),
    )


LOG = two_ages()
POISONS = [changed, cut_short]


def global_settings(folder: Path, **training: object) -> Settings:
    return settings_for(folder, split="global", split_at=CUT, **training)


def test_the_poisons_would_be_tasted() -> None:
    """They change what the split by user reads, the vocabulary, and all that comes after."""
    for poison in POISONS:
        other = poison(LOG)
        assert other.catalogue.vocabulary != LOG.catalogue.vocabulary
        assert not np.array_equal(np.sort(LOG.item), np.sort(other.item))
    assert "noir" in (changed(LOG).catalogue.vocabulary or ())
    assert "modern" in (LOG.catalogue.vocabulary or ())


@pytest.mark.parametrize("poison", POISONS)
def test_what_training_reads_is_the_same(
    poison: Callable[[InteractionLog], InteractionLog], tmp_path: Path
) -> None:
    """Steps, anchors, abstracts at every level, vocabulary and the policy of repeats."""
    options = global_settings(tmp_path).training
    seen = []
    for log in (LOG, poison(LOG)):
        split = split_of(log, options, calibration=True)
        known = np.unique(log.item[log.time < INSTANT]).astype(np.int64)  # type: ignore[operator]
        steps = training_steps(log, split, per_user=6, items=known)
        told = told_to_writers(log_at_split(log, split, options), split)
        texts = [
            write_abstracts(told, steps.anchors, TemplateAbstract(told.catalogue, form),
                            DeviceProfile())
            for form in (*FORMS, FORMS[0].model_copy(update={"level": "categories"}))
        ]  # fmt: skip
        names = [log.user_ids[user] for user in steps.anchors.user.tolist()]
        columns = [steps.events.item, steps.events.local_hour, steps.events.time_s, steps.sessions]
        policy = policy_of(global_settings(tmp_path), log)
        seen.append((columns, names, steps.anchors.tau, texts, told.catalogue.vocabulary, policy))
    ours, theirs = seen
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(ours[2], theirs[2])
    assert ours[1] == theirs[1]
    assert ours[3:] == theirs[3:]
    assert "vintage" in ours[4]
    assert not {"modern", "noir"} & {*ours[4], *theirs[4]}


def assert_same_of_known(one: TrainedModel, two: TrainedModel) -> None:
    """Equal by the bit, as far as items go that were known at the instant."""
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    for name in ("table.vectors", "table.bias", "semantic.vectors"):
        a[name], b[name] = a[name][:KNOWN], b[name][:KNOWN]
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    np.testing.assert_array_equal(one.popularity[:KNOWN], two.popularity[:KNOWN])
    assert not one.popularity[KNOWN:].any()
    assert one.figures == two.figures
    assert one.fusion == two.fusion
    assert one.refresh == two.refresh
    assert one.repeat_policy == two.repeat_policy
    for chosen in ("gamma_max", "helped", "rules", "discount", "gaps"):
        assert getattr(one.calibration, chosen) == getattr(two.calibration, chosen), chosen


@pytest.mark.parametrize("start", first_quick(["text", "random"]))
async def test_no_weight_and_no_figure_changes_by_a_bit(start: str, tmp_path: Path) -> None:
    one = await train(global_settings(tmp_path / "one", item_start=start), LOG, HashingEmbedder(32))
    for poison in POISONS:
        settings = global_settings(tmp_path / poison.__name__, item_start=start)
        two = await train(settings, poison(LOG), HashingEmbedder(32))
        assert two.reused == ()
        assert_same_of_known(one, two)
    assert one.notes == ()
    assert trained_after(one.log, one.split) == 0.0


@pytest.mark.slow
async def test_an_event_before_the_instant_does_change_them(tmp_path: Path) -> None:
    """The comparison above would see a leak: the same poison, one event too early."""
    early = dataclasses.replace(LOG, item=LOG.item.copy())
    row = int(np.flatnonzero(LOG.time < INSTANT)[-1])  # type: ignore[operator]
    early.item[row - 5] = (early.item[row - 5] + 1) % KNOWN
    one = await train(global_settings(tmp_path / "one"), LOG, HashingEmbedder(32))
    two = await train(global_settings(tmp_path / "two"), early, HashingEmbedder(32))
    with pytest.raises(AssertionError):
        assert_same_of_known(one, two)


async def test_the_backbone_is_the_same_and_later_items_stand_beside_it(tmp_path: Path) -> None:
    """One tiny epoch: known rows equal by the bit; later ones start where their texts lie."""
    found = []
    for log in (LOG, changed(LOG)):
        folder = tmp_path / str(len(found))
        settings = global_settings(folder, restart_epochs=0)
        with EmbeddingCache(folder / "embeddings.sqlite") as cache:
            store = StageStore(folder)
            run = TrainingRun(settings, log, HashingEmbedder(32), cache, store, NullProgress())
            found.append((await run.backbone(), await run.result(run.structure)))
    (ours, fitted), (theirs, _) = found
    assert len(fitted.table.bias) == KNOWN
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, theirs.model.state_dict()[name])
    assert torch.equal(ours.table.vectors[:KNOWN], fitted.table.vectors)
    assert torch.equal(ours.table.vectors[:KNOWN], theirs.table.vectors[:KNOWN])
    assert not torch.equal(ours.table.vectors[KNOWN:], theirs.table.vectors[KNOWN:])
    assert torch.isfinite(ours.table.vectors).all()
    # The bias of what was never met: one for all, that of log frequency zero.
    assert len(set(ours.table.bias[KNOWN:].tolist())) == 1
    assert ours.table.bias[KNOWN] < fitted.table.bias.mean()


@pytest.mark.slow
async def test_a_bundle_holds_every_item(tmp_path: Path) -> None:
    settings = global_settings(tmp_path)
    trained = await train(settings, LOG, HashingEmbedder(32))
    bundle = export_bundle(trained, tmp_path / "bundle", settings, created="2026", version="1")
    assert bundle.manifest.n_items == ITEMS
    vectors = np.load(tmp_path / "bundle" / "item_vectors.npy")
    assert vectors.shape[0] == ITEMS
    assert (np.linalg.norm(vectors[KNOWN:], axis=1) > 0.1).all()


def test_a_share_of_events_is_an_instant(tmp_path: Path) -> None:
    for share in (0.25, 0.5, 0.9):
        options = settings_for(tmp_path, split="global", split_at=share).training
        before = LOG.time < instant_of(LOG, options)  # type: ignore[operator]
        assert abs(before.mean() - share) <= 1 / len(LOG)
    assert instant_of(LOG, global_settings(tmp_path).training) == INSTANT


def test_every_user_is_asked_first_for_what_came_first(tmp_path: Path) -> None:
    split = split_of(LOG, global_settings(tmp_path).training)
    test = split.test()
    assert set(test.user.tolist()) == set(range(24))
    assert LOG.time is not None
    assert (LOG.time[LOG.user_start[test.user] + test.step] >= INSTANT).all()
    for user in LATE_USERS:  # nobody knew them: two events, then two requests
        assert test.step[test.user == user].tolist() == [MIN_HISTORY, MIN_HISTORY + 1]
        assert split.test_start[user] == 0


@pytest.mark.parametrize(
    ("log", "at", "said"),
    [
        (drifting_log(has_time=False), CUT, r"training\.split=global .* has no times"),
        (LOG, date(1999, 1, 1), r"training\.split_at=1999-01-01 leaves no event .* before it"),
        (LOG, date(2009, 1, 1), r"training\.split_at=2009-01-01 leaves no event .* after it"),
    ],
)
def test_an_instant_that_cuts_nothing_is_refused(
    log: InteractionLog, at: date, said: str, tmp_path: Path
) -> None:
    options = settings_for(tmp_path, split="global", split_at=at).training
    with pytest.raises(ConfigError, match=said):
        split_of(log, options)


def test_too_little_before_the_instant_is_refused(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, split="global", split_at=date(2001, 9, 9))
    with pytest.raises(DataError, match=r"training\.split_at=2001-09-09 leaves nothing to train"):
        require_enough(LOG, settings)


def test_a_share_outside_is_refused_by_name(tmp_path: Path) -> None:
    for wrong in (1.5, 0, "soon"):
        with pytest.raises(ConfigError, match=r"training\.split_at"):
            settings_for(tmp_path, split_at=wrong)


def test_a_generator_cannot_name_what_appears_later(tmp_path: Path) -> None:
    settings = global_settings(tmp_path)
    with EmbeddingCache(tmp_path / "embeddings.sqlite") as cache:
        run = TrainingRun(
            settings, LOG, HashingEmbedder(32), cache, StageStore(tmp_path), NullProgress()
        )
        with pytest.raises(ConfigError, match=r"training\.split=global .*training\.split=user"):
            _ = run.generator
