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
_IntArray = NDArray[np.int64]

# Weight of what two configurations share: any, a parameter, a pair of them; and of what is a cell's own.
_COMMON, _SINGLE, _PAIR, _OWN = 1.0, 1.0, 0.3, 0.05
# What configurations share, by their equal parameters: `k` of them make `k (k - 1) / 2` equal pairs.
_SHARED = np.array([_COMMON + _SINGLE * k + _PAIR * k * (k - 1) / 2 for k in range(len(DIMENSIONS) + 1)])
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
        self._baseline: DeploymentConfig | None = None
        self._baseline_losses: _FloatArray | None = None
        # What no cell leaves does not make two of them alike.
        chosen = [name for name, choices in spec.space.search_space().choices.items() if len(choices) > 1]
        self._numbers: dict[str, dict[object, int]] = {name: {} for name in chosen}
        # The row of each known cell, the latest cell last; worked out when a cell comes, and asked for often.
        self._rows: dict[DeploymentConfig, int] = {}
        self._codes = np.zeros((_MOST, len(chosen)), dtype=np.int64)
        self._losses = np.empty((_MOST, len(self._objectives)))
        self._kernel = np.empty((_MOST, _MOST))

    def add(self, record: CellRecord) -> None:
        """Learns from a cell; a rejected one tells as much as was measured of it."""
        losses = [
            objective.loss(record.value(objective.figure)) if objective.figure in record.figures else math.nan
            for objective in self._objectives
        ]
        row = self._row_of(record.config)
        self._codes[row] = self._code(record.config)
        self._losses[row] = self._scaled(np.array([losses]))
        shared = _kernel(self._codes[[row]], self._codes[: len(self._rows)])
        self._kernel[row, : len(self._rows)] = self._kernel[: len(self._rows), row] = shared
        if self._baseline in (None, record.config):
            self._baseline, self._baseline_losses = record.config, self._losses[row].copy()

    def _row_of(self, config: DeploymentConfig) -> int:
        """The cell's own row if it is known, else the next free one, else that of the oldest cell."""
        row = self._rows.pop(config, len(self._rows))
        if row == _MOST:
            row = self._rows.pop(next(iter(self._rows)))
        self._rows[config] = row
        return row

    def promises(
        self,
        candidates: Sequence[DeploymentConfig],
        under_way: Sequence[DeploymentConfig],
        front_losses: _FloatArray,
    ) -> _FloatArray | None:
        """What each candidate promises, 0 if it is not expected to enter the front; None if too little is known.

        Args:
            candidates: Cells that are not measured.
            under_way: Cells that are about to be: they count as if they came out as expected.
            front_losses: The front members' values, lower is better, shape `(members, objectives)`.

        Returns:
            By how much each would raise the hypervolume, shape `(candidates,)`.
        """
        guessed = self._guess([*candidates, *under_way])
        if guessed is None or not len(front_losses):
            return None
        means, errors = guessed
        hopeful = (means - _OPTIMISM * errors)[: len(candidates)]
        members = np.vstack([self._scaled(front_losses[-_FRONT:]), means[len(candidates) :]])
        assert self._baseline_losses is not None, "there is a front, so there is a baseline"
        # As in the hypervolume: ten times the baseline's costs, and all of the gate's drop.
        return _hypervolume_gains(hopeful, members, self._baseline_losses + 1.0)

    def _guess(self, asked: Sequence[DeploymentConfig]) -> tuple[_FloatArray, _FloatArray] | None:
        """Mean and standard error of each objective's scaled loss, each of shape `(asked, objectives)`."""
        known = len(self._rows)
        is_known = np.isfinite(self._losses[:known])
        if known < _FEWEST or is_known.sum(axis=0).min() < _FEWEST:
            return None
        shared = _kernel(self._codes[:known], np.array([self._code(config) for config in asked]))
        # Rejected cells lack some figures: what can be learned from the same cells is learned together.
        by_cells: dict[bytes, list[int]] = {}
        for column in range(len(self._objectives)):
            by_cells.setdefault(is_known[:, column].tobytes(), []).append(column)
        means, errors = np.empty((2, len(asked), len(self._objectives)))
        for columns in by_cells.values():
            rows = np.flatnonzero(is_known[:, columns[0]])
            means[:, columns], errors[:, columns] = _regress(
                self._kernel[np.ix_(rows, rows)], shared[rows], self._losses[rows][:, columns]
            )
        return means, errors

    def _code(self, config: DeploymentConfig) -> tuple[int, ...]:
        """The number of a configuration's choice in each dimension."""
        return tuple(numbers.setdefault(getattr(config, name), len(numbers)) for name, numbers in self._numbers.items())

    def _scaled(self, losses: _FloatArray) -> _FloatArray:
        """Losses on the hypervolume's scale but for its origin, shape `(cells, objectives)`."""
        columns = [
            losses[:, column] / self._accuracy_range
            if objective.figure == "accuracy"
            else _logarithm(losses[:, column], objective)
            for column, objective in enumerate(self._objectives)
        ]
        return np.column_stack(columns)


def _logarithm(losses: _FloatArray, objective: Objective) -> _FloatArray:
    sign = 1.0 if objective.direction is Direction.MINIMIZE else -1.0
    return np.asarray(sign * np.log10(np.maximum(sign * losses, 1e-12)))


def _regress(kernel: _FloatArray, shared: _FloatArray, losses: _FloatArray) -> tuple[_FloatArray, _FloatArray]:
    """Mean and standard error for the cells asked about, each of shape `(asked, losses of a cell)`.

    Args:
        kernel: What the known cells share with each other, shape `(known, known)`.
        shared: What they share with those asked about, shape `(known, asked)`.
        losses: Shape `(known, losses of a cell)`.
    """
    centre = losses.mean(axis=0)
    weights = np.linalg.solve(kernel + _OWN * np.eye(len(kernel)), np.column_stack([losses - centre, shared]))
    means = centre + shared.T @ weights[:, : losses.shape[1]]
    explained = np.einsum("kw,kw->w", shared, weights[:, losses.shape[1] :])
    unexplained = np.maximum(1.0 + (_OWN - explained) / kernel[0, 0], 0.0)
    return means, np.sqrt(unexplained[:, None] * losses.var(axis=0))


def _kernel(ones: _IntArray, others: _IntArray) -> _FloatArray:
    """What configurations share, shape `(ones, others)`."""
    equal = np.zeros((len(ones), len(others)), dtype=np.uint8)
    for column, other_column in zip(ones.T, others.T, strict=True):
        equal += column[:, None] == other_column
    return _SHARED[equal]


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
