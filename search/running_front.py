"""The Pareto front of a search that goes on, kept up to date cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["RunningFront"]


class RunningFront:
    """The cells that no other one beats so far; cells of equal values are all kept.

    Args:
        objectives: Number of objectives.
    """

    def __init__(self, objectives: int) -> None:
        self._members: list[DeploymentConfig] = []
        self._losses: NDArray[np.float64] = np.empty((0, objectives))

    @property
    def members(self) -> Sequence[DeploymentConfig]:
        """The cells on the front, in the order in which they came."""
        return self._members

    def add(self, cell: DeploymentConfig, losses: NDArray[np.float64]) -> None:
        """Takes a measured cell into account.

        Args:
            cell: The cell.
            losses: Its objectives with signs such that lower is better, shape `(objectives,)`.
        """
        if (_at_least_as_good(self._losses, losses) & (self._losses < losses).any(axis=1)).any():
            return
        beaten = _at_least_as_good(losses, self._losses) & (losses < self._losses).any(axis=1)
        self._members = [member for member, out in zip(self._members, beaten, strict=True) if not out]
        self._members.append(cell)
        self._losses = np.vstack([self._losses[~beaten], losses])


def _at_least_as_good(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((one <= other).all(axis=1))
