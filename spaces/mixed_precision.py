"""Mixed precision: which operators lose most in static int8, and the fewest that must be spared.

Each operator is quantized alone and the model run on representative rows; what its outputs move by is that operator's
sensitivity. Operators are then spared in the order of their sensitivity, as many as it takes for the whole model to
stay within a stated budget. The rows of the evaluation are never asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from litefront.spaces.calibration import Calibration, calibration_rows
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import (
    Quantization,
    Ranges,
    activation_ranges,
    apply_recipe,
    apply_rules,
    prepare,
)
from litefront.spaces.quantization_recipes import FLOAT_WEIGHTS, only
from litefront.spaces.rows import Rows
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.model_calls import ModelCalls

__all__ = ["OperatorSensitivity", "fragile_operators", "sensitivity"]

_ROWS = 32
"""Rows that sensitivities are measured on."""
_MEASURED_ALONE = 48
"""Operators that are measured one by one; of a larger graph as many groups are measured before, to find them."""


@dataclass(frozen=True)
class OperatorSensitivity:
    """What the outputs of the model move by when only this operator is static int8.

    Attributes:
        name: Its output tensor.
        operator: Its name in the `.tflite` schema, such as CONV_2D.
        error: Mean squared difference of the model's outputs, as a fraction of the variance of the float model's.
        disagreement: Share of the rows whose largest output is another one; 0 where a row has one output.
        alone: Whether it was measured by itself; if not, `error` is an equal share of what its neighbours and it lose
            together, and `disagreement` is theirs.
    """

    name: str
    operator: str
    error: float
    disagreement: float
    alone: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; they are the constructor's arguments."""
        return asdict(self)


def sensitivity(
    float_tflite: bytes, rows: Rows, calibration: Calibration = Calibration.MIN_MAX
) -> list[OperatorSensitivity]:
    """Measures what each operator loses in static int8.

    The cost is one calibration and about a hundred runs of 32 rows at most: operators of a large graph are first
    measured together with their neighbours, and then one by one where that lost most.

    Args:
        float_tflite: The float model, with a static batch.
        rows: The representative rows.
        calibration: How the ranges of activations follow from them.

    Returns:
        The operators that static int8 changes, in the order in which they run.

    Raises:
        CandidateError: If the quantizer refuses the model.
    """
    trial = _Trial(float_tflite, rows, calibration)
    operators = trial.quantizable()
    losses: dict[str, tuple[_Loss, bool]] = {}
    for names, loss in _worst_first(_neighbours(list(operators)), trial.loss_of_only):
        if len(names) > 1 and sum(alone for _, alone in losses.values()) < _MEASURED_ALONE:
            losses |= {name: (trial.loss_of_only([name]), True) for name in names}
        else:
            shared = _Loss(loss.error / len(names), loss.disagreement)
            losses |= dict.fromkeys(names, (shared, len(names) == 1))
    return [
        OperatorSensitivity(name, operator, loss.error, loss.disagreement, alone)
        for name, operator in operators.items()
        for loss, alone in [losses[name]]
    ]


def fragile_operators(
    float_tflite: bytes,
    sensitivities: Sequence[OperatorSensitivity],
    rows: Rows,
    max_drop: float,
    *,
    quantization: Quantization = Quantization.MIXED_INT8,
    calibration: Calibration = Calibration.MIN_MAX,
) -> tuple[str, ...]:
    """The fewest operators to spare, in the order of their sensitivity, for a model that loses at most `max_drop`.

    Their number is found by doubling and halving, which supposes that sparing more never loses more.

    Args:
        float_tflite: The float model.
        sensitivities: What `sensitivity` found of it.
        rows: The representative rows.
        max_drop: Of a classifier the share of rows whose largest output may be another one than the float model's;
            of other models the mean squared difference of the outputs, as a fraction of their variance.
        quantization: The mixed mode; it decides whether operators are spared in float or with int16 activations.
        calibration: How the ranges of activations follow from the rows.

    Returns:
        The names of their outputs; none if plain int8 is good enough. `FLOAT_WEIGHTS` before a name says that the
        operator's weights stay in float as well.

    Raises:
        CandidateError: If the budget is exceeded even with all of them spared.
    """
    trial = _Trial(float_tflite, rows, calibration)
    order = [found.name for found in sorted(sensitivities, key=lambda found: -found.error)]

    def drop(spared: Sequence[str]) -> float:
        return trial.drop(apply_recipe(trial.model, quantization, trial.ranges, spared))

    # Weights in int8 are a quarter of the size: they stay in float only where nothing else helps.
    ways = [order]
    if quantization is Quantization.MIXED_INT8:
        ways.append([FLOAT_WEIGHTS + name for name in order])
    for names in ways:
        count = _fewest(len(names), lambda count, names=names: drop(names[:count]) <= max_drop)  # type: ignore[misc]
        if count is not None:
            return tuple(names[:count])
    raise CandidateError(
        f"{quantization}: at most {max_drop:g} may be lost on the representative rows, "
        f"but {drop(names):.3g} is with every operator spared"
    )


@dataclass(frozen=True)
class _Loss:
    error: float
    disagreement: float


class _Trial:
    """A float model, the ranges of its activations, and its answers: what quantized variants are compared with."""

    def __init__(self, float_tflite: bytes, rows: Rows, calibration: Calibration) -> None:
        self.model = prepare(float_tflite)
        self.ranges: Ranges = activation_ranges(self.model, Quantization.INT8, rows, calibration)
        self._rows = rows
        self._few = calibration_rows(rows, _ROWS)
        calls = ModelCalls(self.model)
        self._answers, self._few_answers = calls.outputs(rows), calls.outputs(self._few)

    def quantizable(self) -> dict[str, str]:
        """The operators that static int8 changes: names of their outputs, and theirs."""
        static = TfliteGraph(apply_recipe(self.model, Quantization.INT8, self.ranges)).operators
        changed = {op.output_name for op in static if op.tensors[op.outputs[0]].type == "INT8"}
        return {op.output_name: op.name for op in TfliteGraph(self.model).operators if op.output_name in changed}

    def loss_of_only(self, names: Collection[str]) -> _Loss:
        """What is lost on a few rows when only these operators are static int8."""
        content = apply_rules(self.model, only(names), self.ranges, name=Quantization.INT8)
        return self._loss(content, self._few, self._few_answers)

    def drop(self, content: bytes) -> float:
        """What a quantized variant loses on all rows: of a classifier in agreement, of other models in error."""
        loss = self._loss(content, self._rows, self._answers)
        return loss.disagreement if _is_classifier(self._answers) else loss.error

    def _loss(self, content: bytes, rows: Rows, expected: dict[str, np.ndarray]) -> _Loss:
        answers = ModelCalls(content).outputs(rows)
        pairs = [(answers[name], expected[name]) for name in expected]
        return _Loss(
            error=float(np.mean([_relative_error(*pair) for pair in pairs])),
            disagreement=float(np.mean([_disagreement(*pair) for pair in pairs])),
        )


def _is_classifier(answers: dict[str, np.ndarray]) -> bool:
    """Whether each row's answer is one vector of scores."""
    return all(answer.ndim == 2 and answer.shape[1] > 1 for answer in answers.values())


def _relative_error(answers: np.ndarray, expected: np.ndarray) -> float:
    difference = answers.astype(np.float64) - expected
    if not np.isfinite(difference).all():
        return float("inf")
    return float(np.mean(difference**2) / (np.var(expected.astype(np.float64)) or 1.0))


def _disagreement(answers: np.ndarray, expected: np.ndarray) -> float:
    ours, theirs = (array.reshape(len(array), -1) for array in (answers, expected))
    return float(np.mean(ours.argmax(axis=1) != theirs.argmax(axis=1)))


def _neighbours(names: list[str]) -> list[list[str]]:
    """Runs of equal length; each operator by itself where there are few enough."""
    length = 1 if len(names) <= 2 * _MEASURED_ALONE else -(-len(names) // _MEASURED_ALONE)
    return [names[start : start + length] for start in range(0, len(names), length)]


def _worst_first(groups: list[list[str]], loss_of: Callable[[Collection[str]], _Loss]) -> list[tuple[list[str], _Loss]]:
    return sorted(((names, loss_of(names)) for names in groups), key=lambda measured: -measured[1].error)


def _fewest(most: int, is_enough: Callable[[int], bool]) -> int | None:
    """The least count from 0 to `most` that is enough, or None if none is."""
    if is_enough(0):
        return 0
    too_few, enough = 0, 1
    while enough < most and not is_enough(enough):
        too_few, enough = enough, enough * 2
    enough = min(enough, most)
    if enough == most and not is_enough(most):
        return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    return enough
