"""Rows of data for a model: one array for a model of one input, an array an input by name for one of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "row_count", "take_rows"]

Rows = NDArray[Any] | Mapping[str, NDArray[Any]]
"""Shape `(rows, ...)`, or such an array for each input of the model by its name."""


def row_count(rows: Rows) -> int:
    """Number of rows."""
    return len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows)


def take_rows(rows: Rows, picked: NDArray[np.integer[Any]] | slice) -> Rows:
    """Some of the rows, by their numbers or as a slice."""
    if isinstance(rows, Mapping):
        return {name: array[picked] for name, array in rows.items()}
    return np.asarray(rows[picked])
