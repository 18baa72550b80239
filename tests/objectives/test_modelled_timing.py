"""What a model says of a timing becomes figures that say so."""

from __future__ import annotations

import math

import pytest

from litefront.objectives.measurement import Provenance
from litefront.objectives.modelled_timing import ModelledTiming

TIMING = ModelledTiming(
    source="roofline, profile made-up",
    latency_ms=8.0,
    latency_error=0.3,
    cold_start_ms=100.0,
    memory_bytes=1e6,
    start_error=0.7,
    busy_cores=1.5,
    core_latency_ms=12.0,
)


def test_no_figure_is_measured() -> None:
    figures = TIMING.figures(batch_size=4)
    assert set(figures) == {"latency_ms", "latency_p90_ms", "throughput_per_s", "cold_start_ms", "memory_bytes"}
    assert {figure.provenance for figure in figures.values()} == {Provenance.MODELLED}
    assert all(figure.source.startswith("roofline, profile made-up") for figure in figures.values())


def test_values_are_those_of_the_model() -> None:
    figures = TIMING.figures(batch_size=4)
    assert figures["latency_ms"].value == figures["latency_p90_ms"].value == 8.0
    assert figures["throughput_per_s"].value == 4 / 8e-3
    assert (figures["cold_start_ms"].value, figures["memory_bytes"].value) == (100.0, 1e6)


def test_intervals_are_the_models_error() -> None:
    # 1.96 standard deviations hold 95 % of a normal distribution.
    factor = math.exp(1.96 * 0.3)
    figure = TIMING.figures(batch_size=1)["latency_ms"]
    assert figure.interval == pytest.approx((8 / factor, 8 * factor), rel=1e-3)
    assert figure.confidence == 0.95


def test_a_timing_goes_through_a_devices_reply() -> None:
    assert ModelledTiming.from_reply({"modelled": TIMING.to_json(), "nodes": 3}) == TIMING
    assert ModelledTiming.from_reply({"rounds": []}) is None
