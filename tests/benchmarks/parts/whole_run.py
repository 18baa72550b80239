"""A whole run against its lower bound: how much of the machine's time the search lets go by.

    lower bound = seconds of the building stages / cores + seconds of the measuring stages

Building fills one core a stage, a measurement has all of them; each stage counts as often as it ran.
"""

from __future__ import annotations

import os

from harness.figures import figure
from harness.shared_runs import SharedRuns

from litefront.search.study_results import StudyResults

__all__ = ["lower_bound_s", "measure"]

_MEASURING = frozenset({"latency"})


def measure(runs: SharedRuns) -> None:
    """Prints a long run's time, its lower bound, and the one over the other."""
    run = runs.exhaustive if runs.exhaustive.seconds >= runs.extent.long_run_s else runs.larger
    bound_s = lower_bound_s(run.results)
    figure("exhaustive run", {"seconds": round(run.seconds), "cells": len(run.results.records)}, "", "", None)
    figure("lower bound of the exhaustive run", round(bound_s), "s", "", None)
    ratio = run.seconds / bound_s
    figure("exhaustive run over its lower bound", round(ratio, 3), "x", "<= 1.10", ratio <= 1.10)


def lower_bound_s(results: StudyResults) -> float:
    """What the stages of a run take if no core is ever idle, in seconds."""
    ran = [entry for entry in results.ledger if entry.event == "run"]
    measuring_s = sum(entry.seconds for entry in ran if entry.stage in _MEASURING)
    building_s = sum(entry.seconds for entry in ran if entry.stage not in _MEASURING)
    return building_s / len(os.sched_getaffinity(0)) + measuring_s
