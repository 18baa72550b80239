"""What a surrogate expects of cells that were not measured, on figures whose law is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.front import loss_values, pareto_front
from litefront.search.surrogate import Surrogate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Sparsity
from tests.search.records import make_record, make_spec

SPEC = make_spec()
LATENCY_MS = {
    Quantization.FLOAT32: 8.0,
    Quantization.FLOAT16: 8.0,
    Quantization.INT8: 2.0,
    Quantization.DYNAMIC_INT8: 3.0,
}
SPACE = [
    DeploymentConfig(sparsity=sparsity, quantization=quantization, num_threads=threads, batch_size=batch)
    for sparsity, quantization, threads, batch in itertools.product(
        map(Sparsity, (0.0, 0.5, 0.75)), LATENCY_MS, (1, 2, 4), (1, 4)
    )
]


def record_of(config: DeploymentConfig) -> CellRecord:
    """A cell whose latency is a product of a factor for each parameter, as a device's nearly is."""
    latency_ms = LATENCY_MS[config.quantization] / config.num_threads**0.8 * config.batch_size**0.9
    size = 4e6 * (0.25 if "int8" in config.quantization else 1.0) * (1 - 0.8 * config.sparsity.level)
    accuracy = 0.95 - 0.05 * config.sparsity.level**2
    return make_record(str(config.params()), config=config, latency_ms=latency_ms, size_bytes=size, accuracy=accuracy)


def learned(number: int) -> tuple[Surrogate, list[CellRecord], list[DeploymentConfig]]:
    """A surrogate of so many cells, their front, and the cells that it has not seen."""
    picks = np.random.default_rng(0).permutation(len(SPACE))
    seen, unseen = [SPACE[i] for i in picks[:number]], [SPACE[i] for i in picks[number:]]
    surrogate, records = Surrogate(SPEC), [record_of(config) for config in seen]
    for record in records:
        surrogate.add(record)
    return surrogate, pareto_front(records, SPEC.chosen_objectives()), unseen


def losses(front: list[CellRecord]) -> NDArray[np.float64]:
    return loss_values(front, SPEC.chosen_objectives())


def front_with(record: CellRecord, front: list[CellRecord]) -> set[DeploymentConfig]:
    return {member.config for member in pareto_front([*front, record], SPEC.chosen_objectives())}


def test_nothing_is_promised_from_a_handful_of_cells() -> None:
    surrogate, front, unseen = learned(7)
    assert surrogate.promises(unseen, [], losses(front)) is None
    assert Surrogate(SPEC).promises(unseen, [], losses([])) is None


def test_cells_that_would_enter_the_front_promise_more_than_those_that_would_not() -> None:
    surrogate, front, unseen = learned(30)
    promises = surrogate.promises(unseen, [], losses(front))
    assert promises is not None and promises.shape == (len(unseen),)
    enters = np.array([config in front_with(record_of(config), front) for config in unseen])
    assert 0 < enters.sum() < len(unseen)
    # A place on the front can be won by too little to be guessed; what promises most wins one.
    assert promises[enters].mean() > 3 * promises[~enters].mean()
    assert enters[int(np.argmax(promises))]


def test_a_cell_under_way_takes_the_promise_of_its_likes() -> None:
    surrogate, front, unseen = learned(30)
    alone = surrogate.promises(unseen, [], losses(front))
    assert alone is not None
    best = unseen[int(np.argmax(alone))]
    beside = surrogate.promises([best], [best], losses(front))
    assert beside is not None and beside[0] < alone.max()


def test_a_rejected_cell_teaches_what_was_measured_of_it() -> None:
    surrogate, front, unseen = learned(30)
    before = surrogate.promises(unseen, [], losses(front))
    poor = make_record("poor", config=unseen[0], state=CellState.REJECTED, accuracy=0.1)
    surrogate.add(poor)
    after = surrogate.promises(unseen[1:], [], losses(front))
    assert before is not None and after is not None
    assert not np.allclose(before[1:], after)


def test_only_the_latest_cells_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefront.search.surrogate._MOST", 20)
    surrogate, front, unseen = learned(50)
    first, latest = Surrogate(SPEC), [SPACE[i] for i in np.random.default_rng(0).permutation(len(SPACE))[:50]]
    for config in [latest[0], *latest[-20:]]:  # the very first one is the baseline
        first.add(record_of(config))
    expected = first.promises(unseen, [], losses(front))
    actual = surrogate.promises(unseen, [], losses(front))
    assert expected is not None and actual is not None and expected.max() > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


def test_a_cell_that_is_measured_again_counts_once_and_as_it_is_now() -> None:
    surrogate, front, unseen = learned(30)
    other = Surrogate(SPEC)
    picks = np.random.default_rng(0).permutation(len(SPACE))
    for index in picks[:30]:
        record = record_of(SPACE[index])
        if index == picks[7]:
            other.add(make_record("earlier", config=record.config, latency_ms=50.0, size_bytes=9e6, accuracy=0.2))
        else:
            other.add(record)
    other.add(record_of(SPACE[picks[7]]))
    expected = surrogate.promises(unseen, [], losses(front))
    actual = other.promises(unseen, [], losses(front))
    assert expected is not None and actual is not None
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("number", [30, 60])
def test_the_same_cells_give_the_same_promises(number: int) -> None:
    first, second = learned(number), learned(number)
    np.testing.assert_array_equal(
        first[0].promises(first[2], [], losses(first[1])), second[0].promises(second[2], [], losses(second[1]))
    )
