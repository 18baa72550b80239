"""What watches a training while it runs: the clock, and the best epoch so far."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from litefront.spaces.errors import CandidateError

__all__ = ["TrainingWatch"]


class TrainingWatch:
    """Stops a training at its time limit, or when it gets no better, and keeps the best epoch's weights.

    Nothing of that happens before a number of steps that must be trained: a schedule that is left half-way gives a
    model that is neither the one nor the other, and its early epochs are the better ones by the loss alone.

    Args:
        model: What is trained.
        patience: Epochs without a better validation loss after which it stops; None where none is watched.
        max_minutes: Time limit from now on; None for none.
        required_steps: Steps that must be trained.
    """

    def __init__(self, model: Any, *, patience: int | None, max_minutes: float | None, required_steps: int) -> None:
        self._model = model
        self._patience = patience
        self._max_minutes = max_minutes
        self._deadline = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._required_steps = required_steps
        self._steps = 0
        self._best_loss = math.inf
        self._best_weights: list[np.ndarray] | None = None
        self._epochs_since = 0

    def callback(self, keras: Any) -> Any:
        """The callback, of the Keras that trains."""
        return keras.callbacks.LambdaCallback(on_train_batch_end=self._after_step, on_epoch_end=self._after_epoch)

    def restore_best(self) -> None:
        """Gives the model the weights of its best epoch, where epochs were watched."""
        if self._best_weights is not None:
            for variable, values in zip(self._model.weights, self._best_weights, strict=True):
                variable.assign(values)

    def _after_step(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        if time.monotonic() < self._deadline:
            return
        if self._steps < self._required_steps:
            raise CandidateError(
                f"the time limit of {self._max_minutes:g} minutes came at step {self._steps} of training, before the "
                f"pruning schedule had ended at step {self._required_steps}"
            )
        self._model.stop_training = True

    def _after_epoch(self, epoch: int, logs: Any = None) -> None:
        if self._patience is None or self._steps < self._required_steps:
            return
        loss = float(logs["val_loss"])
        if loss < self._best_loss:
            self._best_loss = loss
            self._best_weights = [np.array(variable) for variable in self._model.weights]
            self._epochs_since = 0
            return
        self._epochs_since += 1
        if self._epochs_since >= self._patience:
            self._model.stop_training = True
