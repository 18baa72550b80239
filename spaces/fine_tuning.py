"""Fine-tuning: how a model is trained further after something was taken from it.

Everything that trains further does so here, on training data alone: evaluation rows are not among what these functions
can be given by the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from litefront.spaces.rows import Rows, row_count
from litefront.spaces.tensorflow_environment import import_keras, seed_everything

__all__ = ["FineTuning", "TrainingData", "fine_tune"]


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained further on.

    Attributes:
        inputs: The rows that it takes.
        labels: What it should answer, shape `(rows, ...)`; None where it learns from a teacher alone.
        loss: A Keras loss, by name or as a function.
    """

    inputs: Rows
    labels: NDArray[Any] | None
    loss: str | Callable[..., Any]


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


def fine_tune(
    model: Any,
    data: TrainingData,
    settings: FineTuning,
    *,
    teacher: Any = None,
    epochs: int | None = None,
    callbacks: Sequence[Any] = (),
) -> None:
    """Trains a model further, in place.

    Args:
        model: The Keras model.
        data: What it is trained on.
        settings: How.
        teacher: The float model, whose answers are learned too where the settings say so.
        epochs: Passes over the data; by default those of the settings.
        callbacks: Keras callbacks that take part.
    """
    keras = import_keras()
    seed_everything(settings.seed)
    passes = epochs or settings.epochs
    steps = -(-row_count(data.inputs) // settings.batch_size) * passes
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=data.loss)
    model.fit(
        data.inputs,
        data.labels,
        batch_size=settings.batch_size,
        epochs=passes,
        callbacks=list(callbacks),
        verbose=0,
    )
