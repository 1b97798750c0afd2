"""A bound network gives what an ordinary run of the graph gives, to every caller its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from device_runtime.network import Network
from tests.support.bundles import make_bundle

READS = ("item_vectors", "age_hours", "event_hour", "request_hour")
WRITES = ("e_str", "copy_logit")


def network(path: Path) -> Network:
    return Network(make_bundle(path / "bundle"), "encoder.onnx", READS, WRITES)


def drawn(length: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng([length, seed])
    ages = np.sort(rng.uniform(0, 99, length))[::-1].astype(np.float32)
    hours = rng.uniform(0, 168, length).astype(np.float32)
    return rng.standard_normal((length, 8), np.float32), ages, hours, np.array(seed, np.float32)


def test_one_request_is_a_batch_of_one(tmp_path: Path) -> None:
    encoder = network(tmp_path)
    for length in (3, 10, 3, 1):
        for seed in range(3):
            values = drawn(length, seed)
            bound = encoder.run(*values)
            batch = encoder.run_batch(*(np.asarray(value)[None] for value in values))
            for one, row in zip(bound, batch, strict=True):
                np.testing.assert_array_equal(one, row[0])


def test_an_answer_stays_as_it_was(tmp_path: Path) -> None:
    encoder = network(tmp_path)
    first = encoder.run(*drawn(5, 0))
    kept = [made.copy() for made in first]
    encoder.run(*drawn(5, 1))
    for made, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(made, before)


def test_threads_do_not_write_into_each_others_arrays(tmp_path: Path) -> None:
    encoder = network(tmp_path)
    expected = [encoder.run(*drawn(7, seed))[0] for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: encoder.run(*drawn(7, n % 8))[0], range(400)))
    for place, made in enumerate(found):
        np.testing.assert_array_equal(made, expected[place % 8])
