"""How sure it is which cells are on the Pareto front, given that a clock never tells the same time twice.

What the front would be is drawn again and again, each figure moved by its noise (`search/noise.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from litefront.search.cell_record import CellRecord
from litefront.search.front import pareto_front
from litefront.search.noise import NoisyColumn, noisy_columns, timing_count
from litefront.search.study_spec import StudySpec

__all__ = ["SURE", "Standing", "front_probabilities", "standings", "ties", "uncertain_cells"]

SURE = 0.95
"""Probability from which a cell counts as a member of the front."""

_DRAWS = 400
_SEED = 0
# Beyond doubt: so many standard errors apart that a draw in 30,000 would cross one of them.
_BEYOND_DOUBT = 4.0
_TIED_ERRORS = 2.0


@dataclass(frozen=True)
class Standing:
    """How sure a cell's place is.

    Attributes:
        probability: Of being on the front.
        timings: How often its latency was measured.
        ties: For a member of the front, the cells that cannot be told apart from it; for another cell, the members that
            it cannot be told apart from.
    """

    probability: float
    timings: int
    ties: tuple[str, ...]


def standings(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, Standing]:
    """How sure the place of each measured cell is, by cell."""
    probabilities = front_probabilities(records, spec)
    tied = ties(records, spec)
    members_of: dict[str, list[str]] = {}
    for member, others in tied.items():
        for other in others:
            members_of.setdefault(other, []).append(member)
    return {
        record.cell: Standing(
            probability=probabilities[record.cell],
            timings=timing_count(record),
            ties=tied.get(record.cell) or tuple(members_of.get(record.cell, ())),
        )
        for record in records
    }


def front_probabilities(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, float]:
    """The probability of being on the front, by cell.

    It is the share of 400 seeded draws in which no other cell beats it. Cells that others dominate beyond doubt are
    left out of the draws: whatever such a cell would beat, the one that dominates it beats as well.

    Args:
        records: Measured cells, with all figures of the objectives.
        spec: Gives objectives, device and load.
    """
    import moocore

    columns = noisy_columns(records, spec)
    open_cells = np.flatnonzero(~_dominated_beyond_doubt(columns, len(records))).tolist()
    probabilities = dict.fromkeys((record.cell for record in records), 0.0)
    if not open_cells:
        return probabilities
    drawn = [column.of(open_cells) for column in columns]
    rng = np.random.default_rng(_SEED)
    times = np.zeros(len(open_cells))
    for _ in range(_DRAWS):
        times += moocore.is_nondominated(_draw(drawn, len(open_cells), rng), keep_weakly=True)
    shares = (times / _DRAWS).tolist()
    return probabilities | {records[index].cell: share for index, share in zip(open_cells, shares, strict=True)}


def uncertain_cells(
    records: Sequence[CellRecord], spec: StudySpec, low: float = 1 - SURE, high: float = SURE
) -> list[CellRecord]:
    """The cells whose place is open, those first that a further measurement would tell most about.

    The order is that of `p (1 - p)`, the variance of being on the front, times the part of the standard error that one
    more timing takes away, `1 - sqrt(n / (n + 1))`.

    Args:
        records: Measured cells.
        spec: The study.
        low: Probability of being on the front below which a cell is taken as dominated.
        high: Probability above which it is taken as a member.
    """
    probabilities = front_probabilities(records, spec)

    def benefit(record: CellRecord) -> float:
        probability, timings = probabilities[record.cell], timing_count(record)
        return probability * (1 - probability) * (1 - math.sqrt(timings / (timings + 1)))

    uncertain = (record for record in records if low <= probabilities[record.cell] <= high)
    return sorted(uncertain, key=lambda record: (-benefit(record), record.cell))


def ties(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, tuple[str, ...]]:
    """For each member of the front by value that has any, the cells that cannot be told apart from it.

    These are equal in every exact objective, and in every noisy one no further apart than twice the standard error of
    the difference. They may be members as well or not.
    """
    columns = noisy_columns(records, spec)
    front = {record.cell for record in pareto_front(records, spec.chosen_objectives())}
    tied: dict[str, tuple[str, ...]] = {}
    for index, record in enumerate(records):
        if record.cell not in front:
            continue
        alike = np.all([column.within(_TIED_ERRORS, index) for column in columns], axis=0)
        others = tuple(records[other].cell for other in np.flatnonzero(alike).tolist() if other != index)
        if others:
            tied[record.cell] = others
    return tied


def _draw(columns: Sequence[NoisyColumn], cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The losses as they might be found another time, shape `(cells, objectives)`."""
    of_latency = rng.standard_normal(cells)
    losses = (column.losses(of_latency if column.by_latency else rng.standard_normal(cells)) for column in columns)
    return np.column_stack(list(losses))


def _dominated_beyond_doubt(columns: Sequence[NoisyColumn], cells: int) -> NDArray[np.bool_]:
    """Which cells another one beats even if luck flattered the other and not them, shape `(cells,)`."""
    import moocore

    if not cells:
        return np.zeros(0, dtype=bool)
    ends = [column.bounds(_BEYOND_DOUBT) for column in columns]
    at_best, at_worst = np.column_stack([low for low, _ in ends]), np.column_stack([high for _, high in ends])
    dominated = np.zeros(cells, dtype=bool)
    # What dominates at its worst is dominated by, or is, one of the front of the worsts.
    for worst in at_worst[moocore.is_nondominated(at_worst)]:
        dominated |= np.all(worst <= at_best, axis=1) & np.any(worst < at_best, axis=1)
    return dominated
