"""What the latest cells added to the hypervolume, by hand."""

from __future__ import annotations

from litefront.search.cell_record import CellRecord
from litefront.search.convergence import latest_gain
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization
from tests.search.records import make_record, make_results

OBJECTIVES = {"objectives": ["size", "latency"], "space": {"quantization": ["float32", "int8"], "num_threads": [1, 2]}}


def baseline() -> CellRecord:
    """10 by 10: its own volume is 1 on the scale of ten times the baseline."""
    return make_record("base", config=BASELINE, size_bytes=10, latency_ms=10)


def no_better(number: int) -> list[CellRecord]:
    config = DeploymentConfig(num_threads=2)
    return [make_record(f"no better {i}", config=config, size_bytes=10, latency_ms=10) for i in range(number)]


def ten_times_smaller() -> CellRecord:
    return make_record("small", config=DeploymentConfig(quantization=Quantization.INT8), size_bytes=1, latency_ms=10)


def test_cells_that_add_nothing_say_that_more_would_not_either() -> None:
    gain = latest_gain(make_results([baseline(), ten_times_smaller(), *no_better(12)], **OBJECTIVES))
    assert gain is not None
    assert (gain.cells, gain.share) == (10, 0.0)
    assert "the last 10 cells added 0.00% of it" in str(gain)


def test_a_late_find_is_a_gain() -> None:
    # A tenth of the size is one more unit to the side: 2 x 1 against 1 x 1, so half of today's volume is new.
    gain = latest_gain(make_results([baseline(), *no_better(12), ten_times_smaller()], **OBJECTIVES))
    assert gain is not None
    assert abs(gain.share - 0.5) < 1e-12


def test_the_window_is_a_quarter_of_many_cells() -> None:
    gain = latest_gain(make_results([baseline(), *no_better(59)], **OBJECTIVES))
    assert gain is not None
    assert gain.cells == 15


def test_too_few_cells_say_nothing() -> None:
    assert latest_gain(make_results([baseline(), *no_better(9)], **OBJECTIVES)) is None
    assert latest_gain(make_results([], **OBJECTIVES)) is None
