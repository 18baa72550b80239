"""Whether a task's data and a model fit together: names, shapes and types, and which batch the model can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from litefront.search.task import Task
from litefront.spaces.base_model import BaseModel, ModelFormat
from litefront.spaces.errors import InputError
from litefront.spaces.model_interface import ModelInterface
from litefront.spaces.rows import Rows, by_name, row_shapes
from litefront.spaces.tflite.batch import batch_refusal

__all__ = ["calibration_refusal", "check_fit", "fixed_batch"]


def check_fit(task: Task, interface: ModelInterface) -> None:
    """Sees whether a task's data are what the model takes, and name what it gives.

    Raises:
        InputError: If not; all problems at once.
    """
    if problems := list(_problems(task, interface)):
        raise InputError(problems)


def fixed_batch(task: Task, model: BaseModel, interface: ModelInterface) -> tuple[int | None, str]:
    """The only batch that a model can have and why, or None and nothing if it can have any.

    Args:
        task: Its data fit the model.
        model: The base model.
        interface: What it takes and gives.
    """
    if without := _without_batch(task, interface):
        return 1, f"the model's input {without} has no batch dimension, so that a call takes one row"
    if model.format is ModelFormat.TFLITE:
        refusal = batch_refusal(model.path.read_bytes(), task.evaluation.inputs)
        own = abs(interface.inputs[0].shape[0])
        return (None, "") if refusal is None else (own, f"the file is made for batches of {own} only: {refusal}")
    if fixed := [spec.shape[0] for spec in interface.inputs if spec.shape[0] > 0]:
        return fixed[0], f"the model is made for batches of {fixed[0]} only"
    for spec in interface.outputs:
        if not spec.shape or spec.shape[0] > 0:
            return 1, f"the model's output {spec.name} has no batch dimension, so that a call takes one row"
    return None, ""


def calibration_refusal(task: Task, interface: ModelInterface) -> str | None:
    """Why activations cannot be calibrated for the model itself, or None."""
    if without := _without_batch(task, interface):
        return f"rows to calibrate on are given in batches, but the model's input {without} has no batch dimension"
    return None


def _without_batch(task: Task, interface: ModelInterface) -> str | None:
    """The name of an input that has no batch dimension, or None."""
    shapes = row_shapes(by_name(task.evaluation.inputs, [interface.inputs[0].name]))
    return next((spec.name for spec in interface.inputs if spec.takes_whole(shapes[spec.name])), None)


def _problems(task: Task, interface: ModelInterface) -> Iterator[str]:
    training = task.training.inputs if task.training else None
    for which, rows in (
        ("evaluation", task.evaluation.inputs),
        ("training", training),
        ("representative", task.representative),
    ):
        # The shapes of all three are the same: that has been seen to before.
        if rows is not None:
            yield from _input_problems(which, rows, interface, shapes=which == "evaluation")
    yield from _output_problems(task, interface)


def _input_problems(which: str, rows: Rows, interface: ModelInterface, *, shapes: bool) -> Iterator[str]:
    names = [spec.name for spec in interface.inputs]
    if not isinstance(rows, Mapping) and len(names) > 1:
        yield f"The {which} inputs must be arrays by the names {', '.join(names)}, but they are one array."
        return
    named = by_name(rows, names)
    if set(named) != set(names):
        given = ", ".join(sorted(named))
        yield f"The {which} inputs must have the names of the model's inputs, {', '.join(names)}, but got {given}."
        return
    for spec in interface.inputs:
        array, of = named[spec.name], f" of {spec.name}" if len(names) > 1 else ""
        row = array.shape[1:]
        if shapes and not (spec.takes(row) or spec.takes_whole(row)):
            yield f"A row of the data{of} must have the shape that the model takes, {spec.shape[1:]}, but got {row}."
        if wrong := _inexact(array, spec.dtype):
            yield f"The {which} inputs{of} must be of the type {spec.dtype}, but {wrong} values are not."


def _inexact(array: Any, dtype: str) -> int:
    """How many values would become others in an integer type."""
    kind = np.dtype(dtype)
    if kind.kind not in "iub" or np.can_cast(array.dtype, kind):
        return 0
    return int(np.count_nonzero(array.astype(kind) != array))


def _output_problems(task: Task, interface: ModelInterface) -> Iterator[str]:
    names = [spec.name for spec in interface.outputs]
    if task.output is not None and task.output not in names:
        yield f"`output` must be one of the model's outputs, {', '.join(names)}, but got {task.output}."
    elif task.output is None and len(names) > 1 and not task.is_fidelity:
        yield f"`output` must name the output that is scored, one of {', '.join(names)}, but it is not given."
    for which, data in (("evaluation", task.evaluation), ("training", task.training)):
        labels = data.labels if data else None
        if isinstance(labels, Mapping) and (unknown := sorted(set(labels) - set(names))):
            yield f"The {which} labels must be those of {', '.join(names)}, but got {', '.join(unknown)} too."
