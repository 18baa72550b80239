"""Cold start and memory: what the first call of a fresh process costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from litefront.objectives.measurement import Measurement, Provenance

__all__ = ["measure_cold_start"]


def measure_cold_start(cold_starts: Sequence[Mapping[str, float]]) -> dict[str, Measurement]:
    """Sums up the runner's cold starts.

    Args:
        cold_starts: The reply's `cold_starts`: one fresh process each.

    Returns:
        `cold_start_ms`, load and first call together, and `memory_bytes`, the resident memory that they added at
        their peak; medians over the processes, with the lowest and highest as the interval.
    """
    over = f"over {len(cold_starts)} fresh processes"
    starts_ms = [entry["load_ms"] + entry["first_call_ms"] for entry in cold_starts]
    peaks = [entry["peak_memory_bytes"] for entry in cold_starts]
    return {
        "cold_start_ms": _median(starts_ms, "ms", f"load and first call, median {over}"),
        "memory_bytes": _median(peaks, "bytes", f"peak resident memory added by load and first call, median {over}"),
    }


def _median(values: Sequence[float], unit: str, source: str) -> Measurement:
    """The median, with the lowest and highest value as its interval."""
    return Measurement(float(np.median(values)), unit, Provenance.MEASURED, source, (min(values), max(values)))
