"""The runner's p50 beside LiteRT's own `litert-benchmark`, taken in turn, so that the machine's drift meets both.

That tool calls through LiteRT's CompiledModel, the runner through its Interpreter. What the one costs a call more than
the other is measured on a model that computes next to nothing: some 2 us, which is a lot of a call of 20 us.
"""

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
    order, count = random.Random(0), models.extent.pairs
    for model in models.mobilenets:
        _tell(model.name, _pairs(model, count, order))
    calling_ms = float(np.median([theirs - ours for ours, theirs in _pairs_in_one_process(models.empty, count)]))
    figure("what litert-benchmark's way of calling adds to a call", round(1e3 * calling_ms, 2), "us", "", None)
    for model in models.micro:
        name, pairs = f"small net {model.name}, in one process", _pairs_in_one_process(model, count)
        _tell(name, pairs)
        _tell(f"{name}, without what calling adds", [(ours, theirs - calling_ms) for ours, theirs in pairs])


def _pairs_in_one_process(model: MeasuredModel, count: int) -> list[tuple[float, float]]:
    return pairs_in_one_process(model.candidate, model.rows, _runs(model), count)


def _runs(model: MeasuredModel) -> int:
    return max(50, round(_SECONDS * 1e3 / _ours_ms(model)))


def _pairs(model: MeasuredModel, count: int, order: random.Random) -> list[tuple[float, float]]:
    runs, pairs = _runs(model), []
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
