"""Calibration: how the ranges of activations are found on the representative rows, and on how many of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice, checked_whole_number
from litefront.spaces.rows import Rows, row_count, take_rows

if TYPE_CHECKING:
    from litefront.spaces.tflite.model_calls import ModelCalls

__all__ = ["CALIBRATION", "CALIBRATION_ROWS", "Calibration", "TailQuantiles", "calibrate", "calibration_rows"]


class Calibration(StrEnum):
    """How a tensor's range follows from the values seen; the values are the names in study files and bundles."""

    MIN_MAX = "min_max"
    """The lowest and the highest."""
    PERCENTILE = "percentile"
    """What all but one in ten thousand at either end lie within."""
    MOVING_AVERAGE = "moving_average"
    """The extremes of each call, averaged with those of the calls before."""


def calibration_rows(rows: Rows, count: int) -> Rows:
    """Evenly spaced rows, in their order.

    Args:
        rows: All representative rows.
        count: How many to take; all, if there are no more.
    """
    total = row_count(rows)
    if count >= total:
        return rows
    return take_rows(rows, np.arange(count) * total // count)


def calibrate(
    float_tflite: bytes, recipe: list[dict[str, Any]], rows: Rows, calibration: Calibration
) -> dict[str, dict[str, np.ndarray]]:
    """The range of each activation that a recipe asks for, in the quantizer's form (`min` and `max` by tensor name).

    The moving average is the quantizer's own default: it depends on the order of the rows and on the batch, and clips
    what is rare. On a tiny classifier the largest difference of int8 was 0.124 at batch 1, 0.006 at batch 4.

    Args:
        float_tflite: The float model.
        recipe: The quantizer's rules.
        rows: The representative rows.
        calibration: How the ranges follow from the values seen.

    Raises:
        CandidateError: If the rows do not fit the model's inputs.
    """
    from litefront.spaces.tflite.model_calls import ModelCalls

    model = ModelCalls(float_tflite, preserve_tensors=True)
    ranges = _ranges_of_first_call(model, recipe, rows)
    calls = -(-row_count(rows) // model.batch_size)
    tensors = [tensor for tensor in model.tensors() if tensor.name in ranges]
    seen = {tensor.name: _STATISTICS[calibration](calls * tensor.elements) for tensor in tensors}
    for call in model.split(rows):
        model.run(call)
        for tensor in tensors:
            seen[tensor.name].add(tensor.values())
    for name, statistic in seen.items():
        shape = ranges[name]["min"].shape
        low, high = statistic.range()
        ranges[name] |= {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
    return ranges


def _ranges_of_first_call(model: ModelCalls, recipe: list[dict[str, Any]], rows: Rows) -> dict[str, Any]:
    """What the quantizer itself asks of a recipe: which tensors, and the form of their ranges.

    Its own calibration goes over each tensor once for every operator that reads or writes it, with masks: of a small
    BERT 0.25 s a row, where the model takes 0.02.
    """
    from ai_edge_quantizer import calibrator, recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe)
    work = calibrator.Calibrator(model.content, num_threads=1)
    work.calibrate({model.signature: [next(model.split(rows))]}, rules)
    return dict(work.get_model_qsvs())


class Extremes:
    """The lowest and the highest of many values."""

    def __init__(self, _count: int) -> None:
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Takes the values of one call."""
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))

    def range(self) -> tuple[float, float]:
        """The two."""
        return self._low, self._high


class AveragedExtremes:
    """The extremes of each call, averaged with those of the calls before."""

    _SMOOTHING = 0.95  # As the quantizer has it.

    def __init__(self, _count: int) -> None:
        self._range: tuple[float, float] | None = None

    def add(self, values: np.ndarray) -> None:
        """Takes the values of one call."""
        new = float(values.min()), float(values.max())
        low, high = self._range or new
        self._range = self._averaged(low, new[0]), self._averaged(high, new[1])

    def range(self) -> tuple[float, float]:
        """The two averages."""
        assert self._range is not None, "there is at least one call"
        return self._range

    def _averaged(self, before: float, new: float) -> float:
        return self._SMOOTHING * before + (1 - self._SMOOTHING) * new


class TailQuantiles:
    """The exact quantiles `share` and `1 - share` of many values, of which only the outermost are kept.

    The memory is `2 * share` of the values, and the order in which they come does not matter.

    Args:
        count: How many values there will be.
        share: The lower quantile, as a fraction.
    """

    def __init__(self, count: int, share: float = 1e-4) -> None:
        # By linear interpolation between the two nearest ranks, as numpy's default has it.
        self._position = share * (count - 1)
        self._kept = min(count, int(self._position) + 2)
        self._low = self._high = np.empty(0, np.float32)

    def add(self, values: np.ndarray) -> None:
        """Takes values of any shape."""
        flat = np.asarray(values, np.float32).reshape(-1)
        # Both at once would sort what stands between; two selections are linear.
        self._low = _smallest(np.concatenate([self._low, _smallest(flat, self._kept)]), self._kept)
        self._high = -_smallest(np.concatenate([-self._high, _smallest(-flat, self._kept)]), self._kept)

    def range(self) -> tuple[float, float]:
        """The two quantiles."""
        return self._interpolated(np.sort(self._low)), -self._interpolated(np.sort(-self._high))

    def _interpolated(self, ascending: np.ndarray) -> float:
        rank = int(self._position)
        below, above = float(ascending[rank]), float(ascending[min(rank + 1, len(ascending) - 1)])
        return below + (self._position - rank) * (above - below)


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    return values if len(values) <= count else np.partition(values, count - 1)[:count]


_STATISTICS: dict[Calibration, type[Extremes | AveragedExtremes | TailQuantiles]] = {
    Calibration.MIN_MAX: Extremes,
    Calibration.MOVING_AVERAGE: AveragedExtremes,
    Calibration.PERCENTILE: TailQuantiles,
}


def _parse(value: object) -> Calibration:
    return checked_choice(value, Calibration, name="calibration")


def _parse_rows(value: object) -> int:
    return checked_whole_number(value, name="calibration_rows", low=1)


def _refusal(_choice: object, _capabilities: Capabilities) -> str | None:
    return None


CALIBRATION = Dimension("calibration", default=Calibration.MIN_MAX, parse=_parse, refusal=_refusal)
CALIBRATION_ROWS = Dimension("calibration_rows", default=200, parse=_parse_rows, refusal=_refusal)
"""Rows are evenly spaced over the representative ones."""
