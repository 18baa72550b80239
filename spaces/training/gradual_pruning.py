"""Gradual magnitude pruning of the project's own, for models that `tensorflow-model-optimization` does not take.

The weights of least magnitude are masked along the same schedule (Zhu and Gupta, arXiv 1710.01878), and masked weights
are set to zero after each update step, so that neither a gradient nor an optimizer's momentum lets them grow again.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.training.prunable_weights import BLOCK

__all__ = ["GradualPruning", "Steps", "magnitude_mask"]


class Steps(Protocol):
    """When weights are set to zero."""

    @property
    def end(self) -> int:
        """Step of the last update."""

    @property
    def frequency(self) -> int:
        """Steps from one update to the next."""

    def level(self, step: int, first: float, last: float) -> float:
        """The sparsity after a step."""


class GradualPruning:
    """Masks the weights of least magnitude while a model is trained.

    Args:
        weights: The model's variables that are pruned.
        sparsity: Which of their values become zero in the end.
        steps: Along which schedule.
        from_level: The level that they are pruned to already.
    """

    def __init__(self, weights: list[Any], sparsity: Sparsity, steps: Steps, from_level: float) -> None:
        self._weights, self._sparsity = weights, sparsity
        self._steps, self._from_level = steps, from_level
        self._step = 0
        self._masks: list[NDArray[Any]] = [
            np.asarray(weight) != 0 if from_level else np.ones(weight.shape, bool) for weight in weights
        ]

    def callback(self, keras: Any) -> Any:
        """The callback that prunes, of the Keras that trains."""
        return keras.callbacks.LambdaCallback(on_train_batch_end=self._after_step)

    def _after_step(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        values = [np.asarray(weight) * mask for weight, mask in zip(self._weights, self._masks, strict=True)]
        if self._step <= self._steps.end and self._step % self._steps.frequency == 0:
            level = self._steps.level(self._step, self._from_level, self._sparsity.level)
            self._masks = [magnitude_mask(value, self._sparsity, level) for value in values]
            values = [value * mask for value, mask in zip(values, self._masks, strict=True)]
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


def magnitude_mask(kernel: NDArray[Any], sparsity: Sparsity, level: float) -> NDArray[np.bool_]:
    """Which weights are kept.

    Args:
        kernel: The weights, as Keras stores them: inputs last but one, outputs last.
        sparsity: The pattern. Of `n:m` the n least of each group can become zero, the least of all these first.
        level: Share of the weights that become zero, at most that of `sparsity`.

    Returns:
        Shape of the kernel, False where a weight becomes zero.
    """
    if sparsity.pattern is Pattern.UNSTRUCTURED:
        return _largest(np.abs(kernel), level)
    inputs_last = np.moveaxis(np.abs(kernel), -2, -1)
    groups = inputs_last.reshape(-1, BLOCK if sparsity.pattern is Pattern.BLOCK else sparsity.of)
    if sparsity.pattern is Pattern.BLOCK:
        kept = np.broadcast_to(_largest(groups.mean(axis=1), level)[:, np.newaxis], groups.shape)
    else:
        zeros = round(sparsity.level * sparsity.of)
        candidates = groups.argsort(axis=1, kind="stable").argsort(axis=1) < zeros
        kept = _largest(np.where(candidates, groups, np.inf), level)
    return np.moveaxis(kept.reshape(inputs_last.shape), -1, -2)


def _largest(magnitudes: NDArray[Any], level: float) -> NDArray[np.bool_]:
    """All but the least, of which there are `level` of all; at least one is kept, and ties of the last one too."""
    kept = max(1, round(magnitudes.size * (1.0 - level)))
    threshold = np.partition(magnitudes, -kept, axis=None)[-kept]
    return np.asarray(magnitudes >= threshold)
