"""The Pareto front over the measured cells, and the hypervolume that it covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.catalogue import Direction, Objective
from litefront.search.cell_record import CellRecord
from litefront.search.study_spec import StudySpec

__all__ = ["FrontArchive", "accuracy_range", "hypervolume", "hypervolume_of_losses", "loss_values", "pareto_front"]

_DEFAULT_ACCURACY_RANGE = 0.1


def pareto_front(records: Sequence[CellRecord], objectives: Sequence[Objective]) -> list[CellRecord]:
    """The records that no other one beats: none is at least as good in every objective and better in one.

    Cells of equal values are all kept. The order is that of the first objective, best first.
    """
    if not records:
        return []
    import moocore

    losses = loss_values(records, objectives)
    kept = moocore.is_nondominated(losses, keep_weakly=True)
    front = [record for record, keep in zip(records, kept, strict=True) if keep]
    return sorted(front, key=lambda record: tuple(loss_values([record], objectives)[0]))


def loss_values(records: Sequence[CellRecord], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """The objectives' values with signs such that lower is better, shape `(records, objectives)`."""
    rows = [[objective.loss(record.value(objective.figure)) for objective in objectives] for record in records]
    return np.array(rows, dtype=np.float64).reshape(len(records), len(objectives))


class FrontArchive:
    """The Pareto front of the cells that have been added so far, kept up to date cell by cell.

    A cell costs a comparison with each member of the front, however many cells there are. Only where a member itself is
    measured again, or withdrawn, is the front sought among all cells anew: what it beat until then may come back.

    Args:
        objectives: What the front is over.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._records: dict[str, CellRecord] = {}
        self._front: list[str] = []
        self._front_losses = np.empty((0, len(self._objectives)))

    def __len__(self) -> int:
        """How many cells are on the front."""
        return len(self._front)

    @property
    def members(self) -> list[CellRecord]:
        """The cells on the front, those of equal values included; those that came last stand last."""
        return [self._records[cell] for cell in self._front]

    @property
    def losses(self) -> NDArray[np.float64]:
        """The members' values, lower is better, shape `(members, objectives)`."""
        return self._front_losses

    def add(self, record: CellRecord) -> bool:
        """Takes a measured cell, or its newer record in place of the one that is there.

        Returns:
            Whether the cell is on the front now.
        """
        self.discard(record.cell)
        losses = loss_values([record], self._objectives)[0]
        self._records[record.cell] = record
        if np.any(_beats(self._front_losses, losses)):
            return False
        kept = ~_beats(losses, self._front_losses)
        self._front = [cell for cell, keep in zip(self._front, kept, strict=True) if keep] + [record.cell]
        self._front_losses = np.vstack([self._front_losses[kept], losses])
        return True

    def discard(self, cell: str) -> None:
        """Forgets a cell; one that is not there is no error."""
        if self._records.pop(cell, None) is None:
            return
        if cell in self._front:
            front = pareto_front(list(self._records.values()), self._objectives)
            self._front = [record.cell for record in front]
            self._front_losses = loss_values(front, self._objectives)


def _beats(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each row pair, whether one is at least as good as the other in every objective and better in one."""
    return np.asarray(np.all(ones <= others, axis=-1) & np.any(ones < others, axis=-1))


def hypervolume(records: Sequence[CellRecord], baseline: CellRecord, spec: StudySpec) -> float:
    """Volume of what the records dominate, on a fixed scale around the baseline.

    A cost counts as log10 of its ratio to the baseline, so halving a size is worth the same wherever it happens; the
    reference point is ten times the baseline. Accuracy counts as the part of the gate's drop that is lost (of 0.1
    without a gate, or with one of 0); its reference point is the gate. So the figure neither moves with the points
    that were found nor with the units, and two runs can be compared.

    Args:
        records: Measured cells.
        baseline: The baseline's record.
        spec: Gives objectives and gate.
    """
    return hypervolume_of_losses(loss_values(records, spec.chosen_objectives()), baseline, spec)


def hypervolume_of_losses(losses: NDArray[np.float64], baseline: CellRecord, spec: StudySpec) -> float:
    """The hypervolume of cells whose values are there as losses already, shape `(cells, objectives)`."""
    if not len(losses):
        return 0.0
    import moocore

    objectives = spec.chosen_objectives()
    references = loss_values([baseline], objectives)[0]
    columns = [
        _scaled(losses[:, column], references[column], objective, accuracy_range(spec))
        for column, objective in enumerate(objectives)
    ]
    return float(moocore.hypervolume(np.column_stack(columns), ref=np.ones(len(objectives))))


def accuracy_range(spec: StudySpec) -> float:
    """The drop in accuracy that counts as much as a factor of ten in a cost: what the gate allows."""
    return spec.gates.max_accuracy_drop or _DEFAULT_ACCURACY_RANGE


def _scaled(losses: NDArray[np.float64], reference: float, objective: Objective, drop: float) -> NDArray[np.float64]:
    if objective.figure == "accuracy":
        return (losses - reference) / drop
    sign = 1.0 if objective.direction is Direction.MINIMIZE else -1.0
    values = np.maximum(sign * losses, 1e-12)
    return np.asarray(sign * np.log10(values / max(sign * reference, 1e-12)))
