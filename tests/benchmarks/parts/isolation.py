"""What a measurement costs beside the calls that it times: a process of its own, loading, warming up, cold starts."""

from __future__ import annotations

import time

import numpy as np
from harness.figures import figure
from harness.measured_models import MeasuredModels

from litefront.objectives.devices import HostDevice
from litefront.objectives.timing import Timing

__all__ = ["measure"]


def measure(models: MeasuredModels) -> None:
    """Prints the seconds of a measurement that are not timed calls."""
    device, cells = HostDevice(), models.cells
    overheads = []
    for number in range(models.extent.measurements):
        cell, reference = cells[number % len(cells)], models.micro[0]
        start = time.perf_counter()
        reply = device.benchmark(cell.candidate, cell.rows, Timing(), reference.candidate)
        overheads.append(time.perf_counter() - start - reply["timed_s"])
    median, largest = float(np.median(overheads)), max(overheads)
    figure("overhead of isolation, median", round(median, 3), "s a measurement", "< 0.6", median < 0.6)
    figure("overhead of isolation, largest", round(largest, 3), "s a measurement", "", None)
