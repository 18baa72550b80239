"""How much of an exhaustive run's front a search has found, and when.

Every search is judged by the exhaustive run's figures of the cells that it had finished, whatever it measured itself:
that leaves the noise of two measurements out, and is generous to a search whose own latencies are spoiled.
"""

from __future__ import annotations

from collections.abc import Iterable

from litefront.search.front import hypervolume
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["COVERED", "seconds_to_cover", "share_covered"]

COVERED = 0.95
"""The share of the exhaustive front's hypervolume that counts as having found it."""


def seconds_to_cover(found: Iterable[tuple[float, DeploymentConfig]], exhaustive: StudyResults) -> float | None:
    """When the cells found so far first cover 95 % of the hypervolume of the exhaustive front; None if never.

    Args:
        found: When each cell was finished, seconds, in that order.
        exhaustive: The exhaustive run.
    """
    cells: list[DeploymentConfig] = []
    for at, cell in found:
        cells.append(cell)
        if share_covered(cells, exhaustive) >= COVERED:
            return at
    return None


def share_covered(cells: Iterable[DeploymentConfig], exhaustive: StudyResults) -> float:
    """The share of the hypervolume of the exhaustive front that these cells cover."""
    assert exhaustive.baseline is not None, "a finished run has its baseline"
    sought = set(cells)
    known = [record for record in exhaustive.measured if record.config in sought]
    whole = hypervolume(exhaustive.measured, exhaustive.baseline, exhaustive.spec)
    return hypervolume(known, exhaustive.baseline, exhaustive.spec) / whole
