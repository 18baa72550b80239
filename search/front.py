"""The Pareto front over the measured cells, and the hypervolume that it covers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.catalogue import Direction, Objective
from litefront.search.cell_record import CellRecord
from litefront.search.study_spec import StudySpec

__all__ = ["hypervolume", "loss_values", "pareto_front"]

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
    if not records:
        return 0.0
    import moocore

    objectives = spec.chosen_objectives()
    accuracy_range = spec.gates.max_accuracy_drop or _DEFAULT_ACCURACY_RANGE
    points = [[_scaled(record, baseline, objective, accuracy_range) for objective in objectives] for record in records]
    return float(moocore.hypervolume(np.array(points), ref=np.ones(len(objectives))))


def _scaled(record: CellRecord, baseline: CellRecord, objective: Objective, accuracy_range: float) -> float:
    value, reference = record.value(objective.figure), baseline.value(objective.figure)
    if objective.figure == "accuracy":
        return (reference - value) / accuracy_range
    ratio = math.log10(max(value, 1e-12) / max(reference, 1e-12))
    return ratio if objective.direction is Direction.MINIMIZE else -ratio
