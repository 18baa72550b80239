"""Which batch a model can have, as its inputs, its outputs and the rows tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litefront.search.task import Dataset, Task
from litefront.search.task_fit import calibration_refusal, check_fit, fixed_batch
from litefront.spaces.base_model import BaseModel, ModelFormat
from litefront.spaces.model_interface import ModelInterface, TensorSpec

MODEL = BaseModel(Path("saved_model"), ModelFormat.SAVED_MODEL)
ROW = np.zeros((5, 4), np.float32)


def interface(taken: tuple[int, ...], given: tuple[int, ...] = (-1, 3)) -> ModelInterface:
    return ModelInterface((TensorSpec("x", taken, "float32"),), (TensorSpec("y", given, "float32"),))


def task(rows: np.ndarray = ROW) -> Task:
    return Task(model="saved_model", evaluation=Dataset(rows))


@pytest.mark.parametrize(
    ("taken", "given", "batch_size", "reason"),
    [
        ((-1, 4), (-1, 3), None, ""),
        ((-1, -1), (-1, 3), None, ""),
        ((2, 4), (2, 3), 2, "the model is made for batches of 2 only"),
        ((4,), (3,), 1, "the model's input x has no batch dimension, so that a call takes one row"),
        ((-1, 4), (3,), 1, "the model's output y has no batch dimension, so that a call takes one row"),
        ((-1, 4), (), 1, "the model's output y has no batch dimension, so that a call takes one row"),
    ],
)
def test_the_batch_is_free_unless_something_fixes_it(
    taken: tuple[int, ...], given: tuple[int, ...], batch_size: int | None, reason: str
) -> None:
    model = interface(taken, given)
    check_fit(task(), model)
    assert fixed_batch(task(), MODEL, model) == (batch_size, reason)


def test_rows_of_single_numbers_fit_a_model_of_no_dimension_and_one_of_a_batch_alone() -> None:
    numbers = task(np.zeros(5, np.float32))
    assert fixed_batch(numbers, MODEL, interface(()))[0] == 1
    assert fixed_batch(numbers, MODEL, interface((-1,)))[0] is None


def test_what_has_no_batch_dimension_is_not_calibrated() -> None:
    assert calibration_refusal(task(), interface((-1, 4))) is None
    assert "the model's input x has no batch dimension" in str(calibration_refusal(task(), interface((4,))))
