"""Sparse tensors of `.tflite` files, made dense.

The format is TACO's (Chou, Kjolstad and Amarasinghe, "Format Abstraction for Sparse Tensor Algebra Compilers", OOPSLA
2018): a tensor's dimensions, and those of its blocks behind them, are stored one within the other as levels, each dense
or as segments of indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = ["densified"]


def densified(values: NDArray[Any], shape: tuple[int, ...], sparsity: Any) -> NDArray[Any]:
    """Gives a sparsely stored tensor whole.

    Args:
        values: What is stored, shape `(stored,)`.
        shape: The tensor's own shape.
        sparsity: Its `SparsityParametersT`.

    Returns:
        The tensor, of that shape; zero where nothing is stored.
    """
    order = [int(dimension) for dimension in sparsity.traversalOrder]
    blocks = [] if sparsity.blockMap is None else [int(dimension) for dimension in sparsity.blockMap]
    at = _level_indices(sparsity.dimMetadata)
    by_dimension = {dimension: at[:, level] for level, dimension in enumerate(order)}
    places = [by_dimension[dimension] for dimension in range(len(shape))]
    for number, dimension in enumerate(blocks):
        level = order.index(len(shape) + number)
        size = int(sparsity.dimMetadata[level].denseSize)
        places[dimension] = places[dimension] * size + at[:, level]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(places)] = values[: len(at)]
    return dense


def _level_indices(levels: list[Any]) -> NDArray[np.int64]:
    """The index in every level of each stored value, shape `(stored, levels)`."""
    at = np.zeros((1, 0), np.int64)
    for level in levels:
        if level.format == schema.DimensionType.DENSE:
            here = np.tile(np.arange(level.denseSize), len(at))
            above = np.repeat(np.arange(len(at)), level.denseSize)
        else:
            segments = np.asarray(level.arraySegments.values, np.int64)
            here = np.asarray(level.arrayIndices.values, np.int64)[segments[0] : segments[-1]]
            above = np.repeat(np.arange(len(at)), np.diff(segments))
        at = np.column_stack([at[above], here])
    return at
