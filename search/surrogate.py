"""A guess at what cells that nobody has measured would give, from those that were: to say which of them promise most.

A Gaussian process for each objective (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
equations 2.23 and 2.24) whose kernel adds up what two configurations share: each parameter for itself, and each pair
of them (Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011). So a factor of the batch that was
seen on one quantization is expected on the others, until a measurement says otherwise.

What a cell promises is by how much it would raise the hypervolume if it came out a little better than expected (a bound
on hypervolume improvement: Emmerich, Giannakoglou and Naujoks, IEEE Transactions on Evolutionary Computation 10, 2006).
Costs count by their decimal logarithm and accuracy by the share of the gate's drop, with the same reference point as in
`front.hypervolume`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.catalogue import Direction, Objective
from litefront.search.cell_record import CellRecord
from litefront.search.front import accuracy_range
from litefront.search.study_spec import StudySpec
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.search_space import DIMENSIONS

__all__ = ["Surrogate"]

_FloatArray = NDArray[np.float64]

# Weight of what two configurations share: any, a parameter, a pair of them; and of what is a cell's own.
_COMMON, _SINGLE, _PAIR, _OWN = 1.0, 1.0, 0.3, 0.05
# Below so many cells there is nothing to learn from; above, the latest count, so that a guess costs no more.
_FEWEST, _MOST = 8, 200
# Front members that a promise is held against, the latest ones, for the same reason.
_FRONT = 40
# Standard errors by which a guess is taken as better than it is likely to be: what is uncertain may surprise.
_OPTIMISM = 0.5


class Surrogate:
    """Learns from the latest cells what others would give; the first one of all is the baseline.

    Args:
        spec: Gives the objectives and the gate.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._objectives = spec.chosen_objectives()
        self._accuracy_range = accuracy_range(spec)
        self._baseline: CellRecord | None = None
        self._records: dict[DeploymentConfig, CellRecord] = {}

    def add(self, record: CellRecord) -> None:
        """Learns from a cell; a rejected one tells as much as was measured of it."""
        if self._baseline is None or self._baseline.config == record.config:
            self._baseline = record
        self._records.pop(record.config, None)
        self._records[record.config] = record
        if len(self._records) > _MOST:
            del self._records[next(iter(self._records))]

    def promises(
        self,
        candidates: Sequence[DeploymentConfig],
        under_way: Sequence[DeploymentConfig],
        front: Sequence[CellRecord],
    ) -> _FloatArray | None:
        """What each candidate promises, 0 if it is not expected to enter the front; None if too little is known.

        Args:
            candidates: Cells that are not measured.
            under_way: Cells that are about to be: they count as if they came out as expected.
            front: The front's members.

        Returns:
            By how much each would raise the hypervolume, shape `(candidates,)`.
        """
        guessed = self._guess([*candidates, *under_way])
        if guessed is None or not front:
            return None
        means, errors = guessed
        members = np.array([[self._scaled(record, o) for o in self._objectives] for record in front[-_FRONT:]])
        hopeful = (means - _OPTIMISM * errors)[: len(candidates)]
        return _hypervolume_gains(hopeful, np.vstack([members, means[len(candidates) :]]), self._reference())

    def _reference(self) -> _FloatArray:
        """As in the hypervolume: ten times the baseline's costs, and all of the gate's drop."""
        assert self._baseline is not None, "there is a front, so there is a baseline"
        return np.array([self._scaled(self._baseline, objective) + 1.0 for objective in self._objectives])

    def _guess(self, asked: Sequence[DeploymentConfig]) -> tuple[_FloatArray, _FloatArray] | None:
        """Mean and standard error of each objective's scaled loss, each of shape `(asked, objectives)`."""
        # Rejected cells lack some figures: what can be learned from the same cells is learned together.
        by_cells: dict[tuple[DeploymentConfig, ...], list[int]] = {}
        for column, objective in enumerate(self._objectives):
            known = [config for config, record in self._records.items() if objective.figure in record.figures]
            if len(known) < _FEWEST:
                return None
            by_cells.setdefault(tuple(known), []).append(column)
        means, errors = np.empty((2, len(asked), len(self._objectives)))
        for cells, columns in by_cells.items():
            losses = [[self._scaled(self._records[cell], self._objectives[c]) for c in columns] for cell in cells]
            means[:, columns], errors[:, columns] = _regress(cells, np.array(losses), asked)
        return means, errors

    def _scaled(self, record: CellRecord, objective: Objective) -> float:
        value = record.value(objective.figure)
        if objective.figure == "accuracy":
            return -value / self._accuracy_range
        logarithm = math.log10(max(value, 1e-12))
        return logarithm if objective.direction is Direction.MINIMIZE else -logarithm


def _regress(
    known: Sequence[DeploymentConfig], losses: _FloatArray, asked: Sequence[DeploymentConfig]
) -> tuple[_FloatArray, _FloatArray]:
    """Mean and standard error for the cells asked about, each of shape `(asked, losses of a cell)`."""
    codes = _codes([*known, *asked])
    learned, wanted = codes[: len(known)], codes[len(known) :]
    shared = _kernel(learned, wanted)
    centre = losses.mean(axis=0)
    weights = np.linalg.solve(
        _kernel(learned, learned) + _OWN * np.eye(len(known)), np.column_stack([losses - centre, shared])
    )
    means = centre + shared.T @ weights[:, : losses.shape[1]]
    explained = np.einsum("kw,kw->w", shared, weights[:, losses.shape[1] :])
    unexplained = np.maximum(1.0 + (_OWN - explained) / _kernel_with_itself(), 0.0)
    return means, np.sqrt(unexplained[:, None] * losses.var(axis=0))


def _codes(configs: Sequence[DeploymentConfig]) -> NDArray[np.int64]:
    """The number of each configuration's choice in each dimension, shape `(configs, dimensions)`."""
    columns = []
    for name in DIMENSIONS:
        numbers: dict[object, int] = {}
        columns.append([numbers.setdefault(getattr(config, name), len(numbers)) for config in configs])
    return np.array(columns).T


def _kernel(ones: NDArray[np.int64], others: NDArray[np.int64]) -> _FloatArray:
    """What configurations share, shape `(ones, others)`: `k` equal parameters make `k (k - 1) / 2` equal pairs."""
    equal = (ones[:, None, :] == others[None, :, :]).sum(axis=2).astype(np.float64)
    return np.asarray(_COMMON + _SINGLE * equal + _PAIR * equal * (equal - 1) / 2)


def _kernel_with_itself() -> float:
    number = len(DIMENSIONS)
    return _COMMON + _SINGLE * number + _PAIR * number * (number - 1) / 2


def _hypervolume_gains(points: _FloatArray, front: _FloatArray, reference: _FloatArray) -> _FloatArray:
    """By how much each point alone would raise the front's hypervolume, shape `(points,)`."""
    import moocore

    gains = np.zeros(len(points))
    beaten = np.all(front[None, :, :] <= points[:, None, :], axis=2).any(axis=1)
    hopeful = np.flatnonzero(~beaten & np.all(points < reference, axis=1))
    before = moocore.hypervolume(front, ref=reference)
    for index in hopeful:
        gains[index] = moocore.hypervolume(np.vstack([front, points[index]]), ref=reference) - before
    return gains
