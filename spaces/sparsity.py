"""Sparsity: which fraction of the prunable weights is zero, and the gradual pruning that gets there.

Zhu and Gupta, "To prune, or not to prune", arXiv 1710.01878: magnitude pruning during fine-tuning, along a polynomial
schedule (their equation 1). A schedule that ends after the last training step never reaches its sparsity, one whose
last update does not fall on a multiple of the frequency stops just short of it; both happen silently in
tensorflow-model-optimization, so the steps here are counted from the data, and the zeros are counted afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from litefront.spaces.dimension import Capabilities, Dimension
from litefront.spaces.errors import CandidateError
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow, seed_everything

__all__ = ["SPARSITY", "FineTuning", "PruningSteps", "prunable_layers", "prune"]


@dataclass(frozen=True)
class FineTuning:
    """How a model is trained further after something was taken from it.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Rows a training step.
        learning_rate: Of Adam, at the start; it falls to zero along a cosine.
        seed: Of all training: the base model's initial weights, the shuffling, and whatever is random in the model.
        continued_epochs: None prunes every sparsity from the base model. A number prunes it from the model of the next
            lower sparsity of the study's space instead, in that many epochs; the lowest still starts from the base.
    """

    epochs: int = 2
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    continued_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(f"`epochs >= 1`, `batch_size >= 1` and `learning_rate > 0` must hold, but got {self}.")
        if self.continued_epochs is not None and self.continued_epochs < 1:
            raise ValueError(f"`continued_epochs` must be None or at least 1, but got {self.continued_epochs}.")

    def continued(self) -> FineTuning:
        """The fine-tuning of a model that is pruned already."""
        assert self.continued_epochs is not None, "only a task that says so continues"
        return replace(self, epochs=self.continued_epochs)

    def pruning_path(self, sparsity: float, sparsities: Collection[float]) -> list[tuple[float, float]]:
        """The prunings that lead from the base model to a sparsity.

        Args:
            sparsity: Where it ends; 0 needs no pruning.
            sparsities: All sparsities of the study's space.

        Returns:
            For each pruning the sparsity that it starts from, 0 for the base model, and the one that it ends at.
        """
        if sparsity == 0:
            return []
        lower = [] if self.continued_epochs is None else sorted(s for s in sparsities if 0 < s < sparsity)
        return list(pairwise((0.0, *lower, sparsity)))


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
    sparsity: float,
    *,
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: str | Callable[..., Any],
    fine_tuning: FineTuning,
    from_sparsity: float = 0.0,
) -> Any:
    """Prunes a tf_keras model to a sparsity while fine-tuning it.

    Args:
        model: The trained model; its layers are taken over, so hand in a copy that nothing else uses.
        sparsity: Fraction of the prunable weights to set to zero, in (0, 1).
        inputs: Training rows, shape `(rows, ...)`.
        labels: Their labels, shape `(rows, ...)`.
        loss: A Keras loss, by name or as a function.
        fine_tuning: How to train.
        from_sparsity: What the model is pruned to already: the schedule starts there, so that its zeros are masked from
            the first step on.

    Returns:
        The pruned model without the pruning wrappers.

    Raises:
        CandidateError: If the model has nothing to prune, or the sparsity was not reached.
    """
    keras = import_keras()
    import tensorflow_model_optimization as tfmot

    seed_everything(fine_tuning.seed)
    steps = PruningSteps.count(len(inputs), fine_tuning)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=from_sparsity,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=steps.end,
        frequency=steps.frequency,
    )
    prunable = prunable_layers(model)
    if not prunable:
        raise CandidateError("the model has no layer whose weights can be pruned")
    wrapped = _wrap(model, schedule, prunable)
    wrapped.compile(optimizer=_optimizer(fine_tuning, steps.total), loss=loss)
    wrapped.fit(
        inputs,
        labels,
        batch_size=fine_tuning.batch_size,
        epochs=fine_tuning.epochs,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    _check_reached(stripped, sparsity)
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


def _optimizer(fine_tuning: FineTuning, total_steps: int) -> Any:
    keras = import_keras()
    rate = keras.optimizers.schedules.CosineDecay(fine_tuning.learning_rate, total_steps)
    return keras.optimizers.Adam(rate)


def _check_reached(model: Any, sparsity: float) -> None:
    for name, weights in prunable_layers(model).items():
        for weight in map(np.asarray, weights):
            reached = 1.0 - np.count_nonzero(weight) / weight.size
            # tfmot prunes a whole number of a tensor's weights, rounded.
            if reached < sparsity - 1.0 / weight.size:
                raise CandidateError(f"pruning to {sparsity:g} ended at {reached:.4f} in layer {name}")


def _parse(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"`sparsity` must be a fraction in [0, 1), but got {value!r}.")
    return float(value)


def _refusal(sparsity: float, capabilities: Capabilities) -> str | None:
    return capabilities.pruning_refusal if sparsity > 0 else None


SPARSITY = Dimension("sparsity", default=0.0, parse=_parse, refusal=_refusal)
