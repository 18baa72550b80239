"""A guess at what cells that nobody has measured would give, from those that were: to say which of them promise most.

A Gaussian process for each objective (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
equations 2.23 and 2.24) whose kernel adds up what two configurations share: each parameter for itself, and each pair
of them (Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011). So a factor of the batch that was
seen on one quantization is expected on the others, until a measurement says otherwise.

What a cell promises is its maximin improvement over the front (Svenson and Santner, "Multiobjective optimization of
expensive-to-evaluate deterministic computer simulator models", CSDA 94, 2016): by how much it would beat the front
member that comes nearest to beating it, where it beats that one most. Costs count by their decimal logarithm and
accuracy by the share of the gate's drop, as in the hypervolume.
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
# Standard errors by which a guess is taken as better than it is likely to be: what is uncertain may surprise.
_OPTIMISM = 0.5


class Surrogate:
    """Learns from measured cells what others would give.

    Args:
        spec: Gives the objectives and the gate.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._objectives = spec.chosen_objectives()
        self._accuracy_range = accuracy_range(spec)
        self._records: dict[DeploymentConfig, CellRecord] = {}

    def add(self, record: CellRecord) -> None:
        """Learns from a cell; a rejected one tells as much as was measured of it."""
        self._records.pop(record.config, None)
        self._records[record.config] = record

    def promises(
        self,
        candidates: Sequence[DeploymentConfig],
        under_way: Sequence[DeploymentConfig],
        front: Sequence[CellRecord],
    ) -> _FloatArray | None:
        """What each candidate promises, above 0 if it is expected to enter the front; None if too little is known.

        Args:
            candidates: Cells that are not measured.
            under_way: Cells that are about to be: they count as if they came out as expected.
            front: The front's members.

        Returns:
            Shape `(candidates,)`, on the scale of the hypervolume.
        """
        asked = [*candidates, *under_way]
        guesses = [self._guess(objective, asked) for objective in self._objectives]
        if not front or any(guess is None for guess in guesses):
            return None
        means = np.column_stack([guess[0] for guess in guesses if guess is not None])
        errors = np.column_stack([guess[1] for guess in guesses if guess is not None])
        members = np.array([[self._scaled(record, o) for o in self._objectives] for record in front])
        hopeful = (means - _OPTIMISM * errors)[: len(candidates)]
        return _maximin_improvement(hopeful, np.vstack([members, means[len(candidates) :]]))

    def _guess(self, objective: Objective, asked: Sequence[DeploymentConfig]) -> tuple[_FloatArray, _FloatArray] | None:
        """Mean and standard error of an objective's scaled loss, each of shape `(asked,)`."""
        known = [record for record in self._records.values() if objective.figure in record.figures][-_MOST:]
        if len(known) < _FEWEST:
            return None
        losses = np.array([self._scaled(record, objective) for record in known])
        codes = _codes([*(record.config for record in known), *asked])
        learned, wanted = codes[: len(known)], codes[len(known) :]
        spread = float(np.var(losses)) or 1e-12
        own = _OWN * np.eye(len(known))
        weights = np.linalg.solve(
            _kernel(learned, learned) + own, np.column_stack([losses - losses.mean(), _kernel(learned, wanted)])
        )
        shared = _kernel(learned, wanted)
        means = losses.mean() + shared.T @ weights[:, 0]
        variances = _kernel_with_itself() + _OWN - np.einsum("kw,kw->w", shared, weights[:, 1:])
        return means, np.sqrt(np.maximum(variances, 0.0) * spread / _kernel_with_itself())

    def _scaled(self, record: CellRecord, objective: Objective) -> float:
        value = record.value(objective.figure)
        if objective.figure == "accuracy":
            return -value / self._accuracy_range
        logarithm = math.log10(max(value, 1e-12))
        return logarithm if objective.direction is Direction.MINIMIZE else -logarithm


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


def _maximin_improvement(points: _FloatArray, front: _FloatArray) -> _FloatArray:
    """For each point, its largest gain in any objective over the front member that leaves the smallest such gain."""
    return np.asarray((front[None, :, :] - points[:, None, :]).max(axis=2).min(axis=1))
