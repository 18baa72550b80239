"""A search that knows what stages cost against the sampler alone, by replay over many seeds.

The recorded stages of the exhaustive run are replayed in virtual time through the real sampler and scheduler, so the
same searches also show what the scheduler's policy leaves idle.
"""

from __future__ import annotations

import os
from statistics import mean, median

from harness.coverage import COVERED, share_covered
from harness.figures import figure
from harness.shared_runs import SharedRuns
from simulation.replayed_search import Found, Replay, ReplayedSearch
from simulation.simulated_search import Guide

__all__ = ["measure"]

_IDLE_SEEDS = 5


def measure(runs: SharedRuns) -> None:
    """Prints the virtual time to the front by what guides the search, and the replayed runs' idle time."""
    cores = len(os.sched_getaffinity(0))
    replay = Replay(runs.exhaustive.results, runs.study("exhaustive", {"budget": {}}), cores)
    _tell_idle("exhaustive run", [replay.search(cells=None, seed=0)])
    budget = runs.extent.budget
    _tell_idle(f"search of {budget} cells", [replay.search(cells=budget, seed=seed) for seed in range(_IDLE_SEEDS)])
    times_s = {guide: _median_to_cover(runs, replay, guide) for guide in Guide}
    ratio = times_s[Guide.PROMISES_AND_COSTS] / times_s[Guide.SAMPLER]
    figure("virtual time to the front, cost-aware over the sampler alone", round(ratio, 3), "x", "< 1", ratio < 1)


def _median_to_cover(runs: SharedRuns, replay: Replay, guided_by: Guide) -> float:
    """The median over the seeds of the virtual seconds to 95 % of the front."""
    exhaustive = runs.exhaustive.results

    def is_covered(found: Found) -> bool:
        return share_covered((cell for _, cell in found), exhaustive) >= COVERED

    # One cell short of the whole space: a search of all of it would go without its sampler.
    cells = len(exhaustive.records) - 1
    searches = [
        replay.search(cells=cells, seed=seed, guided_by=guided_by, until=is_covered)
        for seed in range(runs.extent.seeds)
    ]
    times_s = [search.found[-1][0] for search in searches if is_covered(search.found)]
    spread = {"median": round(median(times_s)), "lowest": round(min(times_s)), "highest": round(max(times_s))}
    figure(f"virtual seconds to 95 % of the front by {guided_by}", spread | {"seeds": len(times_s)}, "s", "", None)
    return median(times_s)


def _tell_idle(name: str, searches: list[ReplayedSearch]) -> None:
    ratio = mean(search.seconds / search.lower_bound_s for search in searches)
    idle = mean(search.idle_core_s for search in searches)
    figure(f"replayed {name} over its lower bound", round(ratio, 3), "x", "<= 1.10", ratio <= 1.10)
    figure(f"idle core seconds of the replayed {name}", round(idle), "s", "", None)
