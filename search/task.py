"""What a user hands in to be searched: a model, its data, and how it is scored and trained further."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.metrics import FIDELITY_METRICS, Metric, find_metric
from litefront.spaces.base_model import SERVING_DEFAULT
from litefront.spaces.calibration import calibration_rows
from litefront.spaces.channel_pruning import ChannelPruning
from litefront.spaces.rows import Rows, pick_output
from litefront.spaces.training.fine_tuning import FineTuning

__all__ = ["Dataset", "Task"]


@dataclass(frozen=True)
class Dataset:
    """Rows of data.

    Attributes:
        inputs: What the model takes, shape `(rows, ...)`; for a model of several inputs such an array for each, by the
            input's name.
        labels: What it should answer, shape `(rows, ...)`, or such an array for each labelled output by its name; None
            if that is not known.
    """

    inputs: Rows
    labels: Rows | None = None


@dataclass(frozen=True)
class Task:
    """A model to search, and everything that the search needs to know about it.

    Attributes:
        model: Gives the trained model, of tf_keras or Keras 3 (called once, in a worker process, seeded with the
            fine-tuning's seed), or the path of a `.keras`, `.h5`, SavedModel or float `.tflite` model.
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
        output: The output that is scored, of a model that has several. None: its only one; where accuracy is agreement
            with the float model, all of them together.
        signature: The signature of a SavedModel or `.tflite` that is meant.
    """

    model: Callable[[], Any] | str | Path
    evaluation: Dataset
    training: Dataset | None = None
    representative: Rows | None = None
    loss: str | Callable[..., Any] = "sparse_categorical_crossentropy"
    metric: str | Metric | None = None
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    channel_pruning: ChannelPruning = field(default_factory=ChannelPruning)
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    model_files: tuple[str | Path, ...] = ()
    output: str | None = None
    signature: str = SERVING_DEFAULT

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

    def scored_labels(self) -> NDArray[Any] | None:
        """The evaluation labels of the output that is scored, shape `(rows, ...)`; None without labels."""
        labels = self.evaluation.labels
        return None if labels is None else pick_output(labels, self.output)

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
        for name, rows in (
            ("training", self.training.inputs if self.training else None),
            ("representative", self.representative),
        ):
            if rows is not None:
                yield from _difference_problems(name, rows, self.evaluation.inputs)
        yield from self._label_problems()
        try:
            find_metric(self.scored_by)
        except ValueError as error:
            yield str(error)
        if self.evaluation.labels is None and not self.is_fidelity:
            yield f"The metric {self.scored_by} needs `evaluation` labels, but there are none."

    def _label_problems(self) -> Iterator[str]:
        labels = self.evaluation.labels
        if not isinstance(labels, Mapping) or self.is_fidelity:
            return
        if self.output is None and len(labels) > 1:
            yield f"`output` must name the output that is scored, one of {_listed(labels)}, but it is not given."
        if self.output is not None and self.output not in labels:
            yield f"The evaluation labels must have those of the output {self.output}, but got {_listed(labels)}."


def _dataset_problems(name: str, data: Dataset) -> Iterator[str]:
    arrays = _arrays(f"{name} inputs", data.inputs)
    if data.labels is not None:
        arrays |= _arrays(f"{name} labels", data.labels)
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
    rows = {what: len(array) for what, array in arrays.items() if _row_shape(array) is not None}
    if len(set(rows.values())) > 1:
        if len(arrays) == 2 and not isinstance(data.inputs, Mapping):
            inputs, labels = rows.values()
            yield f"The {name} data must have as many labels as inputs, but got {labels} labels for {inputs} inputs."
        else:
            counts = ", ".join(f"{count} in the {what}" for what, count in rows.items())
            yield f"The {name} data must have as many rows in every array, but got {counts}."


def _arrays(what: str, rows: Any) -> dict[str, Any]:
    """The arrays by what they are; a mapping without any counts as what is no array."""
    if isinstance(rows, Mapping) and rows:
        return {f"{what} `{name}`": array for name, array in rows.items()}
    return {what: rows}


def _difference_problems(which: str, rows: Any, evaluation: Any) -> Iterator[str]:
    """How rows differ in names and shapes from the evaluation rows."""
    ours, theirs = _arrays("inputs", rows), _arrays("inputs", evaluation)
    if set(ours) != set(theirs):
        yield f"The {which} data must have the evaluation data's {_listed(theirs)}, but it has {_listed(ours)}."
        return
    for what, array in ours.items():
        shape, expected = _row_shape(array), _row_shape(theirs[what])
        if None not in (shape, expected) and shape != expected:
            yield f"A row of the {which} {what} must have the shape of an evaluation row {expected}, but got {shape}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _row_shape(array: Any) -> tuple[int, ...] | None:
    """The shape of one row; None of what has no rows."""
    return array.shape[1:] if isinstance(array, np.ndarray) and array.ndim else None
