"""The cells of the space that nothing is known of yet, and how near each of them is to the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.search_space import DIMENSIONS

__all__ = ["UnknownCells"]


class UnknownCells:
    """The cells that are neither known nor under way, in the order of the space.

    Taking one costs the same however many there are, and so does finding the first; finding those near the front is a
    pass of numpy over all.

    Args:
        cells: Every cell of the space.
    """

    def __init__(self, cells: Sequence[DeploymentConfig]) -> None:
        self._cells = list(cells)
        self._index = {cell: index for index, cell in enumerate(self._cells)}
        self._codes = _codes(self._cells)
        self._is_unknown = np.ones(len(self._cells), dtype=bool)
        self._number = len(self._cells)
        self._first = 0
        # Parameters in which each cell differs from the nearest front member that it was compared with.
        self._distances = self._no_distances()
        self._front: set[DeploymentConfig] = set()

    def __len__(self) -> int:
        return self._number

    def discard(self, cell: DeploymentConfig) -> None:
        """Takes a cell out, if it is there."""
        index = self._index.get(cell)
        if index is not None and self._is_unknown[index]:
            self._is_unknown[index] = False
            self._number -= 1

    def first(self) -> DeploymentConfig:
        """The first cell in the order of the space; there must be one."""
        while not self._is_unknown[self._first]:
            self._first += 1
        return self._cells[self._first]

    def nearest_to(self, front: Sequence[DeploymentConfig]) -> list[DeploymentConfig]:
        """The cells that differ from a front member in as few parameters as any; all cells if the front is empty.

        Members that were there at the last call are not compared again, as long as none has left.
        """
        if not self._front.issubset(front):
            self._distances = self._no_distances()
            self._front = set()
        for member in front:
            if member not in self._front:
                self._compare_with(member)
        distances = np.where(self._is_unknown, self._distances, len(DIMENSIONS) + 1)
        return [self._cells[index] for index in np.flatnonzero(distances == distances.min())]

    def _compare_with(self, member: DeploymentConfig) -> None:
        self._front.add(member)
        index = self._index.get(member)
        if index is not None:  # a baseline outside the space is near to nothing in it
            differing = (self._codes != self._codes[:, index : index + 1]).sum(axis=0, dtype=np.uint8)
            np.minimum(self._distances, differing, out=self._distances)

    def _no_distances(self) -> NDArray[np.uint8]:
        return np.full(len(self._cells), len(DIMENSIONS), dtype=np.uint8)


def _codes(cells: Sequence[DeploymentConfig]) -> NDArray[np.uint16]:
    """For each dimension the number of each cell's choice, shape `(dimensions, cells)`."""
    rows = []
    for name in DIMENSIONS:
        numbers = {choice: number for number, choice in enumerate(dict.fromkeys(getattr(c, name) for c in cells))}
        rows.append([numbers[getattr(cell, name)] for cell in cells])
    return np.array(rows, dtype=np.uint16)
