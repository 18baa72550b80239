"""The runner's p50 beside LiteRT's own `litert-benchmark`, taken in turn, so that the machine's drift meets both."""

from __future__ import annotations

import random

import numpy as np
from harness.figures import figure
from harness.litert_benchmark import litert_p50_ms, pairs_in_one_process
from harness.measured_models import MeasuredModel, MeasuredModels

from litefront.objectives.devices import HostDevice
from litefront.objectives.latency import measure_latency
from litefront.objectives.timing import Timing

__all__ = ["measure"]

# Calls of either tool last about so long.
_SECONDS = 1.0


def measure(models: MeasuredModels) -> None:
    """Prints by how much the two differ for each model."""
    order = random.Random(0)
    for model in models.mobilenets:
        _tell(f"{model.name}, process by process", _pairs(model, models.extent.pairs, order))
    for model in models.micro:
        runs = round(_SECONDS * 1e3 / _ours_ms(model))
        pairs = pairs_in_one_process(model.candidate, model.rows, runs, models.extent.pairs)
        _tell(f"small net {model.candidate.config.quantization}, in one process", pairs)


def _pairs(model: MeasuredModel, count: int, order: random.Random) -> list[tuple[float, float]]:
    runs = max(50, round(_SECONDS * 1e3 / _ours_ms(model)))
    pairs = []
    for _ in range(count):
        if order.random() < 0.5:
            ours_ms, theirs_ms = _ours_ms(model), litert_p50_ms(model.candidate, runs)
        else:
            theirs_ms, ours_ms = litert_p50_ms(model.candidate, runs), _ours_ms(model)
        pairs.append((ours_ms, theirs_ms))
    return pairs


def _ours_ms(model: MeasuredModel) -> float:
    rounds = HostDevice().benchmark(model.candidate, model.rows, Timing(cold_starts=0))["rounds"]
    return measure_latency([rounds], batch_size=1)["latency_ms"].value


def _tell(name: str, pairs: list[tuple[float, float]]) -> None:
    ours_ms, theirs_ms = np.median(pairs, axis=0)
    difference = float(np.median([ours / theirs for ours, theirs in pairs])) - 1
    both = {"runner_ms": round(float(ours_ms), 4), "litert_benchmark_ms": round(float(theirs_ms), 4)}
    figure(f"p50 of {name}", both, "ms", "", None)
    figure(f"difference from litert-benchmark, {name}", f"{difference:+.2%}", "", "<= 3 %", abs(difference) <= 0.03)
