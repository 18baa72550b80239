"""Whether more budget would help: how much of the hypervolume the latest cells have added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.front import FrontArchive, hypervolume_of_losses
from litefront.search.study_results import StudyResults
from litefront.search.study_spec import StudySpec
from litefront.spaces.search_space import canonical

__all__ = ["Convergence", "LatestGain", "hypervolume_curve", "latest_gain", "would_not_help"]

_SMALLEST_WINDOW = 20


@dataclass(frozen=True)
class LatestGain:
    """What the latest cells added.

    A search finds the large gains first, so as many cells more are not expected to add more than these did.

    Attributes:
        cells: How many of the latest measured cells these are: a quarter of all, and at least 20.
        share: The part of today's hypervolume that they added.
    """

    cells: int
    share: float


class Convergence:
    """Follows the hypervolume of a search, cell by cell.

    A cell that does not enter the front costs a comparison with each member; one that does, the hypervolume of the
    front. What is no choice of the study's space is passed over, as everywhere.

    Args:
        spec: The study.
        baseline: The baseline's record, which the hypervolume's scale stands on.
        min_gain: The part of the hypervolume below which a window's gain is not worth its budget; None if any gain is.
    """

    def __init__(self, spec: StudySpec, baseline: CellRecord, *, min_gain: float | None = None) -> None:
        self._spec = spec
        self._baseline = baseline
        self._min_gain = min_gain
        self._space = {canonical(config) for config in spec.space.search_space().configurations()}
        self._archive = FrontArchive(spec.chosen_objectives())
        self._measured: set[str] = set()
        self._curve: list[float] = []

    @property
    def curve(self) -> Sequence[float]:
        """The hypervolume after each measured cell, in the order in which they finished."""
        return tuple(self._curve)

    @property
    def gain(self) -> LatestGain | None:
        """What the latest cells added; None as long as there are too few to say."""
        return latest_gain(self._curve)

    @property
    def more_would_not_help(self) -> bool:
        """Whether the search may end by `would_not_help`; never without a `min_gain`."""
        return self._min_gain is not None and would_not_help(self._curve, self._min_gain)

    def add(self, record: CellRecord) -> None:
        """Takes a finished cell.

        A cell that is measured again corrects the curve's last point; it is no further cell.
        """
        entered = False
        is_choice = record.state is CellState.MEASURED and record.config in self._space
        if is_choice:
            entered = self._archive.add(record)
        else:
            self._archive.discard(record.cell)
        if record.cell in self._measured:
            self._curve[-1] = self._volume()
        elif is_choice:
            self._measured.add(record.cell)
            self._curve.append(self._volume() if entered else self._curve[-1])

    def _volume(self) -> float:
        return hypervolume_of_losses(self._archive.losses, self._baseline, self._spec)


def hypervolume_curve(results: StudyResults) -> list[float]:
    """The hypervolume after each measured cell of a run, in the order in which they finished; empty without a baseline.

    Cells that were measured again stand where they finished first, with the figures that they have today.
    """
    if results.baseline is None:
        return []
    convergence = Convergence(results.spec, results.baseline)
    for record in results.measured:
        convergence.add(record)
    return list(convergence.curve)


def latest_gain(curve: Sequence[float]) -> LatestGain | None:
    """What the latest cells of a `hypervolume_curve` added; None as long as there are too few to say."""
    window = _window(curve)
    if len(curve) <= window:
        return None
    now = curve[-1]
    return LatestGain(window, (now - curve[-1 - window]) / now if now else 0.0)


def would_not_help(curve: Sequence[float], min_gain: float) -> bool:
    """Whether more cells are not worth their budget.

    They are not once the last window of cells, a quarter of all and at least 20, added less than `min_gain`, and at
    least two windows are measured: a first window has nothing to be compared with.

    Args:
        curve: The hypervolume after each measured cell.
        min_gain: Smallest gain that counts, as a part of today's hypervolume.
    """
    gain = latest_gain(curve)
    return gain is not None and len(curve) >= 2 * gain.cells and gain.share < min_gain


def _window(curve: Sequence[float]) -> int:
    return max(_SMALLEST_WINDOW, len(curve) // 4)
