"""What a user hands in to be searched: a model, its data, and how it is scored and trained further."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.metrics import FIDELITY_METRICS, Metric, find_metric
from litefront.spaces.calibration import calibration_rows
from litefront.spaces.channel_pruning import ChannelPruning
from litefront.spaces.fine_tuning import FineTuning
from litefront.spaces.rows import Rows

__all__ = ["Dataset", "Task"]


@dataclass(frozen=True)
class Dataset:
    """Rows of data.

    Attributes:
        inputs: What the model takes, shape `(rows, ...)`.
        labels: What it should answer, shape `(rows, ...)`; None if that is not known.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class Task:
    """A model to search, and everything that the search needs to know about it.

    Attributes:
        model: Gives the trained tf_keras model (called once, in a worker process, seeded with the fine-tuning's seed),
            or the path of a `.keras`, `.h5`, SavedModel or float `.tflite` model.
        evaluation: Rows that accuracy is measured on; never trained or calibrated on. Without labels, agreement with
            the float model is the accuracy.
        training: Rows that a pruned model is fine-tuned on; None if the model cannot be trained further.
        representative: Rows that activations are calibrated on, shape `(rows, ...)`; by default the training rows. As
            many of them are taken as the configuration says, evenly spaced.
        loss: A Keras loss, by name or as a function.
        metric: A metric's name, its import path, or a function of outputs and labels; higher is better. By default
            `top1`, or `argmax_agreement` without labels.
        fine_tuning: How a model is trained further: one that was pruned or clustered, or one that is to be quantized.
        channel_pruning: How channels are chosen and removed.
        custom_objects: Your own Keras layers and functions, by name.
        model_files: Further files that `model` reads; when one of them changes, the model is built again.
    """

    model: Callable[[], Any] | str | Path
    evaluation: Dataset
    training: Dataset | None = None
    representative: NDArray[Any] | None = None
    loss: str | Callable[..., Any] = "sparse_categorical_crossentropy"
    metric: str | Metric | None = None
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    channel_pruning: ChannelPruning = field(default_factory=ChannelPruning)
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    model_files: tuple[str | Path, ...] = ()

    @property
    def scored_by(self) -> str | Metric:
        """The metric, chosen by default if none was given."""
        if self.metric is not None:
            return self.metric
        return "argmax_agreement" if self.evaluation.labels is None else "top1"

    @property
    def is_fidelity(self) -> bool:
        """Whether accuracy is agreement with the float model rather than with labels."""
        return self.scored_by in FIDELITY_METRICS

    def calibration_rows(self, count: int) -> Rows | None:
        """Rows that activations are calibrated on, evenly spaced; None if there are none.

        Args:
            count: How many, or all if there are fewer.
        """
        if self.representative is not None:
            return calibration_rows(self.representative, count)
        return None if self.training is None else calibration_rows(self.training.inputs, count)

    def training_refusal(self) -> str | None:
        """Why a model cannot be trained further with this task's data, or None if it can."""
        if self.training is None:
            return "needs training data to fine-tune on"
        if self.training.labels is None and self.fine_tuning.distillation < 1:
            return "needs labelled training data, or `distillation: 1` to learn from the float model's answers alone"
        return None

    def calibration_refusal(self) -> str | None:
        """Why activations cannot be calibrated with this task's data, or None if they can."""
        if self.calibration_rows(1) is None:
            return "a static range needs a representative data set (or training data) to calibrate on"
        return None

    def problems(self) -> Iterator[str]:
        """What is wrong with the data, a sentence each: the rule, then what came."""
        for name, data in (("evaluation", self.evaluation), ("training", self.training)):
            if not isinstance(data, Dataset | None) or (data is None and name == "evaluation"):
                yield f"`{name}` must be a litefront.search.Dataset, but got {type(data).__name__}."
                return
        yield from _dataset_problems("evaluation", self.evaluation)
        if self.training is not None:
            yield from _dataset_problems("training", self.training)
        if self.representative is not None:
            yield from _dataset_problems("representative", Dataset(self.representative))
        row = _row_shape(self.evaluation.inputs)
        for name, rows in (
            ("training", self.training.inputs if self.training else None),
            ("representative", self.representative),
        ):
            shape = _row_shape(rows)
            if None not in (row, shape) and shape != row:
                yield f"A row of the {name} inputs must have the shape of an evaluation row {row}, but got {shape}."
        try:
            find_metric(self.scored_by)
        except ValueError as error:
            yield str(error)
        if self.evaluation.labels is None and not self.is_fidelity:
            yield f"The metric {self.scored_by} needs `evaluation` labels, but there are none."


def _dataset_problems(name: str, data: Dataset) -> Iterator[str]:
    arrays: dict[str, Any] = {f"{name} inputs": data.inputs}
    if data.labels is not None:
        arrays[f"{name} labels"] = data.labels
    for what, array in arrays.items():
        if not isinstance(array, np.ndarray):
            yield f"The {what} must be a numpy array, but got {type(array).__name__}."
        elif array.ndim == 0 or len(array) == 0:
            yield f"The {what} must have at least one row, but they are empty (shape {array.shape})."
        elif array.dtype.kind not in "fiub":
            yield f"The {what} must be numbers, but got the type {array.dtype}."
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.count_nonzero(~np.isfinite(array)))
            yield f"The {what} must be finite, but {bad} of {array.size} values are NaN or infinite."
    rows = [len(array) for array in arrays.values() if _row_shape(array) is not None]
    if len(rows) == 2 and rows[0] != rows[1]:
        yield (f"The {name} data must have as many labels as inputs, but got {rows[1]} labels for {rows[0]} inputs.")


def _row_shape(array: Any) -> tuple[int, ...] | None:
    """The shape of one row; None of what has no rows."""
    return array.shape[1:] if isinstance(array, np.ndarray) and array.ndim else None
