"""Cold starts, summed up by hand."""

from __future__ import annotations

import pytest

from litefront.objectives.cold_start import measure_cold_start
from litefront.objectives.measurement import Provenance


def entry(load_ms: float, first_call_ms: float, peak: float) -> dict[str, float]:
    return {"load_ms": load_ms, "first_call_ms": first_call_ms, "peak_memory_bytes": peak}


def test_cold_start_is_the_median_of_load_and_first_call_together() -> None:
    figures = measure_cold_start([entry(1, 20, 300), entry(8, 4, 100), entry(5, 1, 200)])
    # 21, 12 and 6 ms; the medians of load (5) and of first call (4) would give 9.
    assert figures["cold_start_ms"].value == 12
    assert figures["cold_start_ms"].interval == pytest.approx((6, 21))
    assert figures["cold_start_ms"].unit == "ms"
    assert "3 fresh processes" in figures["cold_start_ms"].source


def test_memory_is_the_median_of_the_peaks() -> None:
    figure = measure_cold_start([entry(1, 1, 300), entry(1, 1, 100), entry(1, 1, 200), entry(1, 1, 0)])["memory_bytes"]
    assert (figure.value, figure.interval, figure.unit) == (150, (0, 300), "bytes")
    assert figure.provenance is Provenance.MEASURED


def test_one_process_is_its_own_interval() -> None:
    figure = measure_cold_start([entry(2, 3, 7)])["cold_start_ms"]
    assert (figure.value, figure.interval) == (5, (5, 5))
