"""Gradual magnitude pruning during fine-tuning: single weights, blocks of them, or n of every m become zero.

Zhu and Gupta, "To prune, or not to prune", arXiv 1710.01878: a polynomial schedule (their equation 1). A schedule that
ends after the last training step never reaches its sparsity, one whose last update does not fall on a multiple of the
frequency stops just short of it; both happen silently in tensorflow-model-optimization, so the steps here are counted
from the data, and the zeros are counted afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from litefront.spaces.errors import CandidateError
from litefront.spaces.fine_tuning import FineTuning, TrainingData, fine_tune
from litefront.spaces.rows import row_count
from litefront.spaces.sparsity import Sparsity
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow, seed_everything

__all__ = ["PruningSteps", "prunable_layers", "prune"]


@dataclass(frozen=True)
class PruningSteps:
    """When weights are set to zero, in training steps.

    Attributes:
        total: Steps of the whole fine-tuning.
        end: Step of the last update; those after it let the remaining weights recover.
        frequency: Steps from one update to the next; divides `end`.
    """

    total: int
    end: int
    frequency: int

    @classmethod
    def count(cls, rows: int, fine_tuning: FineTuning) -> PruningSteps:
        """Counts the steps that this data gives.

        Args:
            rows: Training rows.
            fine_tuning: Epochs and rows a step.

        Returns:
            Up to 20 updates over the first three quarters of the steps.
        """
        total = math.ceil(rows / fine_tuning.batch_size) * fine_tuning.epochs
        ramp = max(1, int(total * _RAMP_SHARE) - 1)
        frequency = max(1, math.ceil(ramp / _UPDATES))
        return cls(total, end=ramp - ramp % frequency or ramp, frequency=frequency)


_RAMP_SHARE = 0.75
_UPDATES = 20


def prune(
    model: Any,
    sparsity: Sparsity,
    data: TrainingData,
    fine_tuning: FineTuning,
    *,
    teacher: Any = None,
    from_level: float = 0.0,
) -> Any:
    """Prunes a Keras model to a sparsity while fine-tuning it.

    Args:
        model: The trained model; its layers are taken over, so hand in a copy that nothing else uses.
        sparsity: Which weights are set to zero, above level 0; not of the pattern `channel`.
        data: What it is trained on.
        fine_tuning: How to train.
        teacher: The float model, for distillation.
        from_level: The level that the model is pruned to already: the schedule starts there, so that its zeros are
            masked from the first step on.

    Returns:
        The pruned model without the pruning wrappers.

    Raises:
        CandidateError: If the model has nothing to prune, or the sparsity was not reached.
    """
    keras = import_keras()
    import tensorflow_model_optimization as tfmot

    seed_everything(fine_tuning.seed)
    steps = PruningSteps.count(row_count(data.inputs), fine_tuning)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=from_level,
        final_sparsity=sparsity.level,
        begin_step=0,
        end_step=steps.end,
        frequency=steps.frequency,
    )
    prunable = prunable_layers(model)
    if not prunable:
        raise CandidateError("the model has no layer whose weights can be pruned")
    wrapped = _wrap(model, schedule, prunable)
    fine_tune(wrapped, data, fine_tuning, teacher=teacher, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    _check_reached(stripped, sparsity.level)
    keras.backend.clear_session()
    return stripped


def prunable_layers(model: Any) -> dict[str, list[Any]]:
    """The weights that `tfmot` prunes, by the name of their layer, those of nested models too; empty if none."""
    import_tensorflow()
    from tensorflow_model_optimization.python.core.sparsity.keras import prunable_layer, prune_registry

    registry = prune_registry.PruneRegistry
    found: dict[str, list[Any]] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= prunable_layers(layer)
        elif isinstance(layer, prunable_layer.PrunableLayer):
            found[layer.name] = list(layer.get_prunable_weights())
        elif registry.supports(layer):
            found[layer.name] = list(registry.make_prunable(layer).get_prunable_weights())
    return {name: weights for name, weights in found.items() if weights}


def _wrap(model: Any, schedule: Any, prunable: Collection[str]) -> Any:
    """Wraps the prunable layers, and those only, so that a layer that `tfmot` does not know stays as it is."""
    keras = import_keras()
    import tensorflow_model_optimization as tfmot

    def wrap(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return keras.models.clone_model(layer, clone_function=wrap)
        if layer.name in prunable:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
        return layer

    return keras.models.clone_model(model, clone_function=wrap)


def _check_reached(model: Any, sparsity: float) -> None:
    for name, weights in prunable_layers(model).items():
        for weight in map(np.asarray, weights):
            reached = 1.0 - np.count_nonzero(weight) / weight.size
            # tfmot prunes a whole number of a tensor's weights, rounded.
            if reached < sparsity - 1.0 / weight.size:
                raise CandidateError(f"pruning to {sparsity:g} ended at {reached:.4f} in layer {name}")
