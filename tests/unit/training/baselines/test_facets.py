"""Identifiers of several facets: what they name, what is written of them, and what that grounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from shared.generator_config import GeneratorConfig
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.baselines.language.facet_fit import facet_loss, fit_facets
from training.baselines.language.facets import (
    Facet,
    FacetNetwork,
    FacetWriter,
    attribute_facet,
    facets_of,
)
from training.baselines.transrec import grounded
from training.generative.candidates import NO_ITEM

LOG = drifting_log(users=8, events=12, items=24)
FACETS = facets_of(
    LOG.catalogue,
    np.random.default_rng(0).standard_normal((24, 8)).astype(np.float32),
    codes=3,
    seed=0,
)
KNOWN = [np.array([3, 1, 4]), np.array([1, 5, 9, 2, 6])]


def network_of(seed: int = 0) -> FacetNetwork:
    torch.manual_seed(seed)
    levels = tuple(size for facet in FACETS for size in facet.tokens.sizes)
    config = GeneratorConfig(levels=levels, history=6, d_model=16, d_ff=32, d_kv=8, heads=2)
    return FacetNetwork(config, len(FACETS)).eval()


def test_ids_and_titles_name_one_item_each_and_attributes_many() -> None:
    id_, title, attribute = FACETS
    assert id_.one_each
    assert title.one_each
    assert not attribute.one_each
    assert len(attribute.tokens) == 4  # kinds of the log
    assert attribute.sharing.tolist() == [6, 6, 6, 6]
    kinds = [LOG.catalogue.categories[item] for item in range(24)]
    for one, other in itertools.combinations(range(24), 2):
        same = attribute.of_item[one] == attribute.of_item[other]
        assert same == (kinds[one] == kinds[other])


def test_an_attribute_is_of_the_first_two_words() -> None:
    facet = attribute_facet([("Food", "Cafe", "Tea"), ("Food", "Cafe"), ("Food",), ()])
    assert facet.of_item[0] == facet.of_item[1]
    assert len({*facet.of_item.tolist()}) == 3
    assert facet.tokens.sizes == (2, 2)


@pytest.mark.parametrize("number", range(len(FACETS)))
def test_what_is_written_is_the_best_of_an_exhaustive_search(number: int) -> None:
    network, facet = network_of(), FACETS[number]
    writer = FacetWriter(network, FACETS, number)
    # Every identifier, by the forward pass that training takes.
    example = {int(identifier): item for item, identifier in enumerate(facet.of_item)}
    for history in KNOWN:
        log_p = []
        for identifier in range(len(facet.tokens)):
            item = torch.from_numpy(history)[None]
            following = torch.full_like(item, NO_ITEM)
            following[0, -1] = example[identifier]
            read, written = writer.token_of_item[item], writer.token_of_item[following]
            with torch.no_grad():
                each = network(read, written, number)[0, -1].log_softmax(-1)
            log_p.append(float(each.gather(1, written[0, -1][:, None]).sum()))
        wanted = np.argsort(-np.array(log_p), kind="stable")[:3]
        wide = len(facet.tokens)  # no beam is lost
        found, scores = writer.write([history], wide)
        assert found[0, :3].tolist() == wanted.tolist()
        np.testing.assert_allclose(scores[0], np.sort(log_p)[::-1], rtol=1e-4, atol=1e-4)
        assert sorted(found[0].tolist()) == list(range(wide))


def test_facets_are_written_in_words_of_their_own_and_told_apart() -> None:
    network = network_of()
    tokens = [
        {*FacetWriter(network, FACETS, number).token_of_item[:-1].flatten().tolist()}
        for number in range(3)
    ]
    assert not tokens[0] & tokens[1] | tokens[0] & tokens[2] | tokens[1] & tokens[2]
    writer = FacetWriter(network, FACETS, 0)
    _, before = writer.write(KNOWN, 2)
    with torch.no_grad():
        network.facet[1:] += 1.0
    np.testing.assert_array_equal(writer.write(KNOWN, 2)[1], before)
    with torch.no_grad():
        network.facet[0] += 1.0
    assert not np.allclose(writer.write(KNOWN, 2)[1], before)


def test_seen_items_are_not_named_where_an_identifier_is_one_item() -> None:
    network = network_of()
    for number, barred in ((0, True), (1, True), (2, False)):
        writer = FacetWriter(network, FACETS, number)
        n = len(FACETS[number].tokens)
        found, scores = writer.write(KNOWN, n, KNOWN)
        for row, seen in enumerate(KNOWN):
            written = found[row][scores[row] > -np.inf]
            left = {*range(n)} - {*FACETS[number].of_item[seen].tolist()} if barred else {*range(n)}
            assert {*written.tolist()} == left


def test_grounding_sums_what_was_written_of_an_item_by_hand() -> None:
    facet = Facet("attribute", FACETS[2].tokens, np.array([0, 0, 1, 2, 0]))
    found = np.array([[0, 2], [1, 0]])
    log_p = np.log(np.array([[0.25, 0.04], [0.5, 0.0625]]))
    log_p[1, 0] = -np.inf  # nothing more could be written
    places = len(facet.tokens.sizes)  # two
    score = grounded(facet, found, log_p)
    shared = 0.25 ** (1 / places) / 3**0.5
    torch.testing.assert_close(score[0], torch.tensor([shared, shared, 0.0, 0.2, shared]))
    shared = 0.0625 ** (1 / places) / 3**0.5
    torch.testing.assert_close(score[1], torch.tensor([shared, shared, 0.0, 0.0, shared]))


def test_no_later_item_reaches_what_is_learned_of_an_earlier_one() -> None:
    network = network_of()
    writer = FacetWriter(network, FACETS, 1)
    item = torch.tensor([[3, 1, 4, 1, 5]])
    following = torch.tensor([[NO_ITEM, 4, NO_ITEM, NO_ITEM, NO_ITEM]])
    other = torch.tensor([[3, 1, 7, 8, 2]])
    with torch.no_grad():
        loss = facet_loss(network, writer, item, following)
        torch.testing.assert_close(facet_loss(network, writer, other, following), loss)
        earlier = facet_loss(network, writer, torch.tensor([[3, 2, 4, 1, 5]]), following)
    assert not torch.allclose(earlier, loss)


def test_training_is_determined_by_its_seed_and_keeps_the_best_epoch() -> None:
    def trained(seed: int) -> tuple[FacetNetwork, list[float]]:
        network = network_of()
        writers = [FacetWriter(network, FACETS, number) for number in range(3)]
        worth = iter([0.1, 0.3, 0.2])
        history = fit_facets(
            network,
            writers,
            events_of(LOG),
            lambda: next(worth),
            epochs=3,
            seed=seed,
            threads=1,
        )
        return network, [epoch.train_loss or 0.0 for epoch in history]

    (one, losses), (again, _), (other, _) = trained(0), trained(0), trained(1)
    assert losses[-1] < losses[0]
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.facet, other.facet)
