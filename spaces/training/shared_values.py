"""Keeps what weights have in common while they are trained: zeros stay zero, equal weights stay equal.

Of weights that share a value the mean of their updated values is taken after each training step, and given to all of
them: the shared weights of Han, Mao and Dally, "Deep Compression", arXiv 1510.00149, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SharedValues", "k_means"]


class SharedValues:
    """Holds variables to the zeros, or to the groups of equal values, that they have now.

    Args:
        weights: The model's variables.
        zeros_only: Whether zeros alone are kept; else every value that stands more than once.
        zeros_stay: Whether the zeros stay zero; else they are a value like any other.
    """

    def __init__(self, weights: list[Any], *, zeros_only: bool, zeros_stay: bool = True) -> None:
        self._weights = weights
        self._zeros = [np.asarray(weight) == 0 if zeros_stay else None for weight in weights]
        self._groups = None if zeros_only else [_groups(np.asarray(weight)) for weight in weights]

    def callback(self, keras: Any) -> Any:
        """The callback that does so after each step, of the Keras that trains."""
        return keras.callbacks.LambdaCallback(on_train_batch_end=self._after_step)

    def _after_step(self, batch: int, logs: Any = None) -> None:
        for index, (weight, zeros) in enumerate(zip(self._weights, self._zeros, strict=True)):
            value = np.array(weight)
            if self._groups is not None:
                value = _mean_of_groups(value, self._groups[index])
            if zeros is not None:
                value[zeros] = 0
            weight.assign(value)


def _groups(values: NDArray[Any]) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _mean_of_groups(values: NDArray[Any], groups: NDArray[np.intp]) -> NDArray[Any]:
    means = np.bincount(groups, weights=values.reshape(-1)) / np.bincount(groups)
    return means.astype(values.dtype)[groups].reshape(values.shape)


def k_means(values: NDArray[Any], clusters: int, *, zeros_stay: bool) -> NDArray[Any]:
    """Puts the nearest of a few values in the place of each value.

    Lloyd's algorithm in one dimension from evenly spaced values, which Han et al. (section 3.2) found best: large
    weights are few, but they matter. Without chance, so the same again for the same values.

    Args:
        values: Of any shape.
        clusters: How many values may be left.
        zeros_stay: Whether zeros stay zero, beside that many others.

    Returns:
        The same shape and type.
    """
    flat = values.reshape(-1).astype(np.float64)
    moved = flat[flat != 0] if zeros_stay else flat
    if np.unique(moved).size <= clusters:
        return values
    centres = np.linspace(moved.min(), moved.max(), clusters)
    for _ in range(_MOST_ROUNDS):
        nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, moved)
        counts = np.bincount(nearest, minlength=clusters)
        sums = np.bincount(nearest, weights=moved, minlength=clusters)
        # One that is nearest to nothing stays where it is.
        better = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.array_equal(better, centres):
            break
        centres = better
    replaced = flat.copy()
    replaced[flat != 0 if zeros_stay else slice(None)] = centres[
        np.searchsorted((centres[1:] + centres[:-1]) / 2, moved)
    ]
    return replaced.astype(values.dtype).reshape(values.shape)


_MOST_ROUNDS = 100
