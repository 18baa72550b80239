"""Whether measuring thirty cells again gives the same, and whether work beside it is seen."""

from __future__ import annotations

import time

import numpy as np
from harness.campaign import busy_loop, campaign
from harness.figures import figure
from harness.measured_models import MeasuredModels
from harness.ranks import rank_correlation

from litefront.search.cell_record import CellRecord

__all__ = ["measure", "measure_disturbed"]

_Records = dict[str, CellRecord]


def measure(models: MeasuredModels) -> None:
    """Prints how far two campaigns on a quiet machine lie apart."""
    start = time.monotonic()
    first, second = (campaign(models.cells, models.micro[0], seed=seed) for seed in (0, 1))
    seconds = (time.monotonic() - start) / (len(first) + len(second))
    differences = np.abs(_differences(first, second))
    median, correlation = float(np.median(differences)), rank_correlation(_latencies(first), _latencies(second))
    figure("cells of a campaign, and seconds for each", [len(first), round(seconds, 2)], "", "", None)
    figure("noisy cells of two campaigns", [_noisy(first), _noisy(second)], "cells", "", None)
    figure("median difference of two campaigns", f"{median:.2%}", "", "<= 3 %", median <= 0.03)
    figure("largest difference of two campaigns", f"{differences.max():.2%}", "", "", None)
    figure("rank correlation of two campaigns", round(correlation, 4), "", ">= 0.99", correlation >= 0.99)


def measure_disturbed(models: MeasuredModels) -> None:
    """Prints how far a campaign beside a busy loop lies from a quiet one, and what it would be without repeats."""
    quiet = campaign(models.cells, models.micro[0], seed=2)
    with busy_loop():
        disturbed = campaign(models.cells, models.micro[0], seed=3)
    timings = [timing for record in disturbed.values() for timing in record.facts["timings"]]
    figure("timings taken", len(timings), f"for {len(disturbed)} cells", "", None)
    figure("of these seen as disturbed", sum(timing["disturbed"] for timing in timings), "timings", "", None)
    figure("noisy cells, quiet and disturbed", [_noisy(quiet), _noisy(disturbed)], "cells", "", None)
    first = [record.facts["timings"][0]["latency_ms"] for record in disturbed.values()]
    alone = sum(abs(ours / theirs - 1) > 0.05 for ours, theirs in zip(first, _latencies(quiet), strict=True))
    figure("first timings that differ by over 5 % from the quiet campaign", alone, "cells", "", None)
    off = dict(zip(quiet, _differences(quiet, disturbed), strict=True))
    beyond = {name: f"{difference:+.1%}" for name, difference in off.items() if abs(difference) > 0.05}
    allowed = len(quiet) / 30
    figure(
        "cells that differ by over 5 % from the quiet campaign",
        len(beyond),
        "cells",
        "<= 1 in 30",
        len(beyond) <= allowed,
    )
    figure("which", beyond, "", "", None)


def _latencies(records: _Records) -> list[float]:
    return [record.value("latency_ms") for record in records.values()]


def _differences(first: _Records, second: _Records) -> list[float]:
    """Relative differences of the latencies, cell by cell."""
    return [second[name].value("latency_ms") / record.value("latency_ms") - 1 for name, record in first.items()]


def _noisy(records: _Records) -> int:
    return sum(record.noisy is not None for record in records.values())
