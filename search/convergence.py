"""Whether more budget would help: how much of the hypervolume the latest cells have added."""

from __future__ import annotations

from dataclasses import dataclass

from litefront.search.front import hypervolume
from litefront.search.study_results import StudyResults

__all__ = ["LatestGain", "latest_gain"]

_SMALLEST_WINDOW = 10


@dataclass(frozen=True)
class LatestGain:
    """What the latest cells added.

    A search finds the large gains first, so as many cells more are not expected to add more than these did.

    Attributes:
        cells: How many of the latest measured cells these are: a quarter of all, and at least 10.
        share: The part of today's hypervolume that they added.
    """

    cells: int
    share: float

    def __str__(self) -> str:
        """The gain in a sentence."""
        return (
            f"the last {self.cells} cells added {self.share:.2%} of it; "
            f"{self.cells} more are not expected to add more than that"
        )


def latest_gain(results: StudyResults) -> LatestGain | None:
    """What the latest cells of a run added; None as long as there are too few to say."""
    baseline, measured = results.baseline, results.measured
    window = max(_SMALLEST_WINDOW, len(measured) // 4)
    if baseline is None or len(measured) <= window:
        return None
    now = hypervolume(measured, baseline, results.spec)
    before = hypervolume(measured[:-window], baseline, results.spec)
    return LatestGain(window, (now - before) / now if now else 0.0)
