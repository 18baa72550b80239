"""What the latest cells added to the hypervolume, by hand, and the rule that says when to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.convergence import Convergence, LatestGain, hypervolume_curve, latest_gain, would_not_help
from litefront.search.front import hypervolume
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization
from tests.search.records import make_record, make_results, make_spec

OBJECTIVES: dict[str, Any] = {
    "objectives": ["size", "latency"],
    "space": {"quantization": ["float32", "int8"], "num_threads": [1, 2]},
}
SPEC = make_spec(**OBJECTIVES)


def baseline() -> CellRecord:
    """10 by 10: its own volume is 1 on the scale of ten times the baseline."""
    return make_record("base", config=BASELINE, size_bytes=10, latency_ms=10)


def no_better(number: int) -> list[CellRecord]:
    config = DeploymentConfig(num_threads=2)
    return [make_record(f"no better {i}", config=config, size_bytes=10, latency_ms=10) for i in range(number)]


def ten_times_smaller() -> CellRecord:
    """A tenth of the size is one more unit to the side: 2 x 1 against 1 x 1, so half of its volume is new."""
    return make_record("small", config=DeploymentConfig(quantization=Quantization.INT8), size_bytes=1, latency_ms=10)


def ten_times_slower() -> CellRecord:
    return make_record("slow", config=DeploymentConfig(quantization=Quantization.INT8), size_bytes=10, latency_ms=100)


def convergence_of(records: list[CellRecord], **keys: Any) -> Convergence:
    convergence = Convergence(SPEC, baseline(), **keys)
    for record in records:
        convergence.add(record)
    return convergence


# -------------------------------------------------------------------------------------------------- the curve


def test_the_curve_is_the_hypervolume_after_each_measured_cell() -> None:
    records = [baseline(), ten_times_slower(), ten_times_smaller(), *no_better(1)]
    assert hypervolume_curve(make_results(records, **OBJECTIVES)) == pytest.approx([1, 1, 2, 2])


def test_a_run_without_a_baseline_has_no_curve() -> None:
    assert hypervolume_curve(make_results([ten_times_smaller()], **OBJECTIVES)) == []
    assert hypervolume_curve(make_results([], **OBJECTIVES)) == []


def test_the_curve_agrees_with_the_hypervolume_of_all_cells_until_then() -> None:
    rng = np.random.default_rng(0)
    records = [
        make_record(str(number), size_bytes=float(10 ** rng.uniform(0, 2)), latency_ms=float(10 ** rng.uniform(0, 2)))
        for number in range(80)
    ]
    curve = convergence_of(records).curve
    plain = [hypervolume(records[:count], baseline(), SPEC) for count in range(1, 81)]
    assert list(curve) == pytest.approx(plain)


def test_cells_without_figures_or_outside_the_space_are_no_points() -> None:
    outside = make_record("outside", config=DeploymentConfig(num_threads=4), size_bytes=1, latency_ms=1)
    failed = make_record("failed", state=CellState.FAILED)
    rejected = make_record("rejected", state=CellState.REJECTED, size_bytes=1, latency_ms=1)
    assert convergence_of([baseline(), outside, failed, rejected]).curve == (1.0,)


def test_a_cell_that_is_measured_again_corrects_the_last_point() -> None:
    small = ten_times_smaller()
    smaller = make_record("small", config=small.config, size_bytes=0.1, latency_ms=10)
    convergence = convergence_of([baseline(), small, *no_better(1), smaller])
    assert convergence.curve == pytest.approx([1, 2, 3])
    convergence.add(replace(small, state=CellState.REJECTED))
    assert convergence.curve == pytest.approx([1, 2, 1])


# -------------------------------------------------------------------------------------------------- the gain


def test_cells_that_add_nothing_are_no_gain() -> None:
    assert latest_gain([1.0, 2.0] + [2.0] * 20) == LatestGain(20, 0.0)


def test_a_late_find_is_a_gain() -> None:
    gain = convergence_of([baseline(), *no_better(22), ten_times_smaller()]).gain
    assert gain == LatestGain(20, pytest.approx(0.5))


def test_the_window_is_a_quarter_of_many_cells() -> None:
    gain = latest_gain([1.0] * 75 + [2.0] * 25)
    assert gain == LatestGain(25, 0.5)


def test_too_few_cells_say_nothing() -> None:
    assert latest_gain([1.0] * 20) is None
    assert latest_gain([]) is None
    assert convergence_of([]).gain is None


def test_nothing_was_gained_where_no_volume_is() -> None:
    assert latest_gain([0.0] * 30) == LatestGain(20, 0.0)


# -------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("curve", "stops"),
    [
        ([], False),
        ([1.0] * 39, False),  # the first window has no second one to be compared with
        ([1.0] * 40, True),
        ([1.0] * 20 + [1.0] * 19 + [1.1], False),  # a late find of 9 %
        ([1.0] * 19 + [1.1] + [1.1] * 20, True),  # the same before the last window
        ([1.0] * 79 + [1.1] + [1.1] * 20, False),  # within the last quarter of 100
        ([1.0] * 20 + [1.009] * 20, True),  # less than a hundredth
    ],
)
def test_a_search_may_end_once_its_last_window_added_less_than_a_hundredth(curve: list[float], stops: bool) -> None:
    assert would_not_help(curve, 0.01) is stops


def test_a_running_search_is_told_when_more_would_not_help() -> None:
    convergence = convergence_of([baseline(), *no_better(38)], min_gain=0.01)
    assert not convergence.more_would_not_help
    convergence.add(no_better(39)[-1])
    assert convergence.more_would_not_help


def test_without_a_smallest_gain_a_search_goes_on() -> None:
    assert not convergence_of([baseline(), *no_better(60)]).more_would_not_help
