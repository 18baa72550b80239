"""Gradual magnitude pruning during fine-tuning: single weights, blocks of them, or n of every m become zero.

Zhu and Gupta, "To prune, or not to prune", arXiv 1710.01878: a polynomial schedule (their equation 1). A schedule that
ends after the last training step never reaches its sparsity, one whose last update does not fall on a multiple of the
frequency stops just short of it; both happen silently in tensorflow-model-optimization, so the steps here are counted
from the data, and the zeros are counted afterwards.

Models of tf_keras are pruned by that toolkit (it sets the zeros of `n:m` at the first step, all at once), those of
Keras 3, which it does not take, by `gradual_pruning` on the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.errors import CandidateError
from litefront.spaces.rows import row_count
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.tensorflow_environment import import_keras
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune, keras_of
from litefront.spaces.training.gradual_pruning import GradualPruning
from litefront.spaces.training.prunable_weights import BLOCK, prunable_layers, pruning_refusal, unprunable_layers
from litefront.spaces.training.shared_values import SharedValues

__all__ = ["PruningSteps", "prunable_layers", "prune", "pruning_refusal", "unprunable_layers"]


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
            rows: Training rows, those among them that early stopping holds back.
            fine_tuning: Epochs and rows a step.

        Returns:
            Up to 20 updates over the first three quarters of the steps.
        """
        total = fine_tuning.steps(rows)
        ramp = max(1, int(total * _RAMP_SHARE) - 1)
        frequency = max(1, -(-ramp // _UPDATES))
        return cls(total, end=ramp - ramp % frequency or ramp, frequency=frequency)

    def level(self, step: int, first: float, last: float) -> float:
        """The sparsity after a step: from `first` to `last` along a polynomial of the third degree."""
        left = 1.0 - min(step, self.end) / self.end
        return last + (first - last) * left**3


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
        model: The trained tf_keras or Keras 3 model; its layers are taken over, so hand in a copy that nothing else
            uses.
        sparsity: Which weights are set to zero, above level 0; not of the pattern `channel`. Layers that cannot have
            the pattern (`unprunable_layers`) are trained whole.
        data: What it is trained on.
        fine_tuning: How to train.
        teacher: The float model, for distillation.
        from_level: The level that the model is pruned to already: the schedule starts there, so that its zeros are
            masked from the first step on.

    Returns:
        The pruned model without the pruning wrappers.

    Raises:
        CandidateError: If the model has nothing to prune, the time limit came before the schedule had ended, or the
            sparsity was not reached.
    """
    keras = keras_of(model)
    if refusal := pruning_refusal(model, sparsity):
        raise CandidateError(refusal)
    steps = PruningSteps.count(row_count(data.inputs), fine_tuning)
    prune_in = _prune_tf_keras if keras is import_keras() else _prune_keras3
    pruned = prune_in(model, sparsity, steps, from_level, _trainer(data, fine_tuning, teacher, steps))
    _check_reached(pruned, sparsity)
    keras.backend.clear_session()
    return pruned


def _trainer(data: TrainingData, fine_tuning: FineTuning, teacher: Any, steps: PruningSteps) -> Callable[..., None]:
    def train(model: Any, *callbacks: Any) -> None:
        fine_tune(model, data, fine_tuning, teacher=teacher, callbacks=callbacks, required_steps=steps.end)

    return train


def _prune_keras3(
    model: Any, sparsity: Sparsity, steps: PruningSteps, from_level: float, train: Callable[..., None]
) -> Any:
    weights = [weight for found in prunable_layers(model, sparsity).values() for weight in found]
    work = GradualPruning(weights, sparsity, steps, from_level)
    train(model, work.callback(keras_of(model)))
    return model


def _prune_tf_keras(
    model: Any, sparsity: Sparsity, steps: PruningSteps, from_level: float, train: Callable[..., None]
) -> Any:
    import tensorflow_model_optimization as tfmot

    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=from_level,
        final_sparsity=sparsity.level,
        begin_step=0,
        end_step=steps.end,
        frequency=steps.frequency,
    )
    options: dict[str, Any] = {"pruning_schedule": schedule}
    if sparsity.pattern is Pattern.BLOCK:
        options |= {"block_size": (BLOCK, 1), "block_pooling_type": "AVG"}
    if sparsity.pattern is Pattern.N_OF_M:
        # The toolkit's "m by n" are m zeros among n.
        options |= {"sparsity_m_by_n": (round(sparsity.level * sparsity.of), sparsity.of)}
    prunable = prunable_layers(model, sparsity)
    # The toolkit takes a new mask from weights that have just been updated, where a zero may have grown.
    pruned_already = [weight for found in prunable.values() for weight in found] if from_level else []
    wrapped = _wrap(model, options, prunable)
    train(
        wrapped,
        tfmot.sparsity.keras.UpdatePruningStep(),
        SharedValues(pruned_already, zeros_only=True).callback(import_keras()),
    )
    return tfmot.sparsity.keras.strip_pruning(wrapped)


def _wrap(model: Any, options: dict[str, Any], prunable: Collection[str]) -> Any:
    """Wraps the prunable layers, and those only, so that a layer that `tfmot` does not know stays as it is."""
    keras = import_keras()
    import tensorflow_model_optimization as tfmot

    def wrap(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return keras.models.clone_model(layer, clone_function=wrap)
        if layer.name in prunable:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, **options)
        return layer

    return keras.models.clone_model(model, clone_function=wrap)


def _check_reached(model: Any, sparsity: Sparsity) -> None:
    for name, weights in prunable_layers(model, sparsity).items():
        for weight in map(np.asarray, weights):
            groups, reached = _reached(weight, sparsity)
            # A whole number of a tensor's weights or blocks is pruned, rounded; of n of m it is exact.
            if reached < sparsity.level - (0 if sparsity.pattern is Pattern.N_OF_M else 1.0 / groups):
                raise CandidateError(f"pruning to {sparsity.value} ended at {reached:.4f} in layer {name}")


def _reached(weight: NDArray[Any], sparsity: Sparsity) -> tuple[int, float]:
    """Into how many groups the pattern divides a kernel, and the level that it has of it.

    For `n:m` that is the level of the group with the fewest zeros.
    """
    if sparsity.pattern is Pattern.UNSTRUCTURED:
        return weight.size, 1.0 - np.count_nonzero(weight) / weight.size
    size = BLOCK if sparsity.pattern is Pattern.BLOCK else sparsity.of
    groups = np.moveaxis(weight, -2, -1).reshape(-1, size)
    if sparsity.pattern is Pattern.BLOCK:
        return len(groups), float(np.mean(~groups.any(axis=1)))
    return len(groups), float(np.mean(groups == 0, axis=1).min())
