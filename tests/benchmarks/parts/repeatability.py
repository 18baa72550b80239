"""Whether a search finds the same again: twice with one seed, and with another, on the real device."""

from __future__ import annotations

from itertools import combinations

from harness.figures import figure
from harness.ranks import rank_correlation
from harness.shared_runs import SharedRuns

from litefront.search.front import hypervolume
from litefront.search.study_results import StudyResults

__all__ = ["measure"]


def measure(runs: SharedRuns) -> None:
    """Prints how far the fronts' hypervolumes lie apart, and how alike the cells that two runs share are ranked."""
    searches = [
        runs.budgeted.results,
        runs.search("same_seed", seed=0).results,
        runs.search("other_seed", seed=1).results,
    ]
    volumes = [_hypervolume(results) for results in searches]
    spread = (max(volumes) - min(volumes)) / (sum(volumes) / len(volumes))
    figure("hypervolumes of three searches", [round(volume, 4) for volume in volumes], "", "", None)
    figure("largest difference of the hypervolumes", f"{spread:.2%}", "of the mean", "<= 2 %", spread <= 0.02)
    pairs = [_rank_correlation(one, other) for one, other in combinations(searches, 2)]
    figure("common cells of each pair", [cells for cells, _ in pairs], "cells", "", None)
    lowest = min(correlation for _, correlation in pairs)
    value = [round(correlation, 4) for _, correlation in pairs]
    figure("rank correlation of the latencies of each pair", value, "", ">= 0.98", lowest >= 0.98)


def _hypervolume(results: StudyResults) -> float:
    """The run's hypervolume, relative to its own baseline."""
    assert results.baseline is not None, "a finished run has its baseline"
    return hypervolume(results.measured, results.baseline, results.spec)


def _rank_correlation(one: StudyResults, other: StudyResults) -> tuple[int, float]:
    """The number of cells that both have measured, and Spearman's rank correlation of their latencies."""
    first, second = ({record.config: record.value("latency_ms") for record in run.measured} for run in (one, other))
    common = sorted(first.keys() & second.keys())
    ours, theirs = ([latencies[cell] for cell in common] for latencies in (first, second))
    return len(common), rank_correlation(ours, theirs)
