"""The scatter from one timing to the next, by hand and against machines whose scatter is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from litefront.objectives.modelled_timing import ModelledTiming
from litefront.search.cell_record import CellRecord
from litefront.search.noise import between_scatter, noisy_columns, timing_count
from tests.search.records import make_record, make_spec, make_timed_record, timing

PRIOR = 0.01


def test_without_repeats_the_scatter_is_the_prior() -> None:
    assert between_scatter([]) == PRIOR
    assert between_scatter([make_record(latency_ms=1.0), make_timed_record("b", timing(2.0, 0.3))]) == PRIOR


def test_one_repeat_moves_the_prior_by_its_weight() -> None:
    # The logs lie 0.02 from their mean: 2 * 0.02^2 on one degree of freedom, beside 4 of the prior.
    record = make_timed_record("a", timing(math.exp(0.02)), timing(math.exp(-0.02)))
    assert between_scatter([record]) == pytest.approx(math.sqrt((4 * PRIOR**2 + 2 * 0.02**2) / 5))


def test_what_the_intervals_explain_is_no_scatter_between() -> None:
    # Half-widths of 1.96 * 0.03 are standard errors of 0.03 each, more than the two timings differ.
    half_width = 1.96 * 0.03
    record = make_timed_record("a", timing(math.exp(0.02), half_width), timing(math.exp(-0.02), half_width))
    assert between_scatter([record]) == pytest.approx(math.sqrt(4 * PRIOR**2 / 5))


@pytest.mark.parametrize("scatter", [0.004, 0.05])
def test_many_repeats_show_the_scatter_of_the_machine(scatter: float) -> None:
    rng = np.random.default_rng(0)

    def cell(number: int) -> CellRecord:
        errors = scatter * rng.standard_normal(3) + 0.002 * rng.standard_normal(3)
        return make_timed_record(
            str(number), *(timing((1 + number) * math.exp(error), 1.96 * 0.002) for error in errors)
        )

    assert between_scatter([cell(number) for number in range(200)]) == pytest.approx(scatter, rel=0.1)


def test_a_disturbed_timing_counts_only_where_there_is_no_other() -> None:
    calm, disturbed = timing(1.0), timing(5.0, disturbed=True)
    assert timing_count(make_timed_record("a", calm, disturbed, calm)) == 2
    assert timing_count(make_timed_record("a", disturbed)) == 1
    assert between_scatter([make_timed_record("a", calm, disturbed, calm)]) < PRIOR


def test_a_record_without_timings_has_been_timed_once() -> None:
    assert timing_count(make_record(latency_ms=1.0)) == 1


# -------------------------------------------------------------------------------------------------- columns


def test_a_column_moves_by_the_standard_error_over_both_levels() -> None:
    # Two timings of one value: the prior of 1 % shrinks to sqrt(4 / 5) %, beside 2 % within each timing.
    record = make_timed_record("a", timing(1.0, 1.96 * 0.02), timing(1.0, 1.96 * 0.02), size_bytes=100)
    size, latency = noisy_columns([record], make_spec(objectives=["size", "latency"]))
    error = math.sqrt((0.02**2 + 0.8 * PRIOR**2) / 2)
    assert latency.losses(1.0) == pytest.approx(math.exp(error), rel=1e-4)
    assert size.losses(1.0) == pytest.approx(100)


def test_a_column_of_what_is_maximised_falls_as_latency_rises() -> None:
    record = make_record(latency_ms=1.0, throughput_per_s=1000)
    (throughput,) = noisy_columns([record], make_spec(objectives=["throughput"]))
    assert throughput.losses(1.0) == pytest.approx(-1000 * math.exp(-PRIOR))
    low, high = throughput.bounds(1.0)
    assert (low, high) == (pytest.approx(-1000 * math.exp(PRIOR)), pytest.approx(-1000 * math.exp(-PRIOR)))


def test_cells_are_within_errors_of_the_difference() -> None:
    records = [make_record(str(ms), latency_ms=ms) for ms in (1.0, 1.013, 1.015)]
    (latency,) = noisy_columns(records, make_spec(objectives=["latency"]))
    # One standard error of a difference is sqrt(2) of 1 %.
    assert latency.within(1.0, 0).tolist() == [True, True, False]


def make_modelled_record(cell: str, latency_ms: float) -> CellRecord:
    timing = ModelledTiming("a model", latency_ms, 0.3, 10 * latency_ms, 1e6, 0.7, 1.0, latency_ms)
    record = make_record(cell, accuracy=0.9, latency_ms=latency_ms)
    return replace(record, figures={**record.figures, **timing.figures(batch_size=1)}, facts={"timings": []})


def test_a_modelled_latency_is_exact_and_was_never_timed() -> None:
    records = [make_modelled_record("a", 1.0), make_modelled_record("b", 2.0)]
    spec = make_spec(objectives=["accuracy", "latency", "throughput", "cold_start", "memory"])
    assert all(not column.log_error.any() for column in noisy_columns(records, spec))
    assert [timing_count(record) for record in records] == [0, 0]
    assert between_scatter(records) == PRIOR
