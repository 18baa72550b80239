"""Fidelity of a delegate: how its answers differ from the built-in kernels', for the same file and the same rows.

Agreement with the float model's answers, which stands in for an accuracy where there are no labels, is another thing:
that judges the file, this judges what runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from litefront.spaces.rows import Rows, by_name

__all__ = ["FIDELITY_ROWS", "Fidelity"]

FIDELITY_ROWS = 32
"""Rows that are compared: the first of those that the accuracy is taken on."""

# Largest and mean difference that are tolerated, as fractions of the outputs' range. Correct delegates differ by the
# order of their sums, by half precision, and for quantized graphs by the steps that values are rounded to, layer by
# layer: over four networks on XNNPACK, a GPU and OpenVINO by up to 0.0016 for the first kind, and 0.016 for the second.
# Dynamic ranges are found anew in each call, and XNNPACK's are asymmetric where those of the built-in kernels are
# symmetric: 0.011 on average over the 25 convolutions of a face mesh.
# A graph that eight bits are too few for makes more of every such step: as far as it lies from the float model itself,
# two right kernels may lie from each other (0.03 on average, and 0.05, for a MiniLM in mixed precision).
_FLOAT = (0.02, 0.005)
_QUANTIZED = (0.1, 0.01)
_DYNAMIC = (0.1, 0.02)
_COMPUTED_FINELY = frozenset(
    {
        Quantization.FLOAT32,
        Quantization.FLOAT16,
        Quantization.WEIGHT_ONLY_INT8,
        Quantization.WEIGHT_ONLY_INT4,
        Quantization.INT16X8,
    }
)


@dataclass(frozen=True)
class Fidelity:
    """How a delegate's answers differ from the built-in kernels'.

    Attributes:
        rows: Rows that were compared.
        largest: The largest difference, as a fraction of the range of the built-in kernels' answers; None if an answer
            is not finite.
        mean: The mean difference, likewise.
        same_argmax: Share of the rows whose largest output is the same; None where a row has one output.
        file_largest: The largest difference between the built-in kernels' answers and the float model's, likewise: what
            the file itself changes.
        file_mean: The mean of that difference.
    """

    rows: int
    largest: float | None
    mean: float | None
    same_argmax: float | None
    file_largest: float | None = None
    file_mean: float | None = None

    @classmethod
    def of(cls, answers: Rows, expected: Rows, float_answers: Rows | None = None) -> Fidelity:
        """Compares answers, shape `(rows, ...)`, with the built-in kernels' of the same shape.

        Of several outputs the one that differs most counts.

        Args:
            answers: The delegate's.
            expected: The built-in kernels', for the same file and rows.
            float_answers: The float model's to the same rows, which say how much the file itself changes.

        Raises:
            CandidateError: If the shapes differ.
        """
        ours, theirs = by_name(answers, [""]), by_name(expected, [""])
        if set(ours) != set(theirs):
            raise CandidateError(f"outputs {', '.join(ours)}, where the built-in kernels give {', '.join(theirs)}")
        found = cls._worst([cls._of_one(ours[name], theirs[name]) for name in theirs])
        if float_answers is None:
            return found
        of_file = cls.of(float_answers, expected)
        return replace(found, file_largest=of_file.largest, file_mean=of_file.mean)

    @classmethod
    def _worst(cls, outputs: Sequence[Fidelity]) -> Fidelity:
        first, *others = outputs
        if not others:
            return first
        largest = [each.largest for each in outputs if each.largest is not None]
        mean = [each.mean for each in outputs if each.mean is not None]
        if len(largest) < len(outputs):
            return cls(first.rows, None, None, None)
        same = [each.same_argmax for each in outputs if each.same_argmax is not None]
        return cls(first.rows, max(largest), max(mean), min(same, default=None))

    @classmethod
    def _of_one(cls, answers: np.ndarray, expected: np.ndarray) -> Fidelity:
        if answers.shape != expected.shape:
            raise CandidateError(f"answers of shape {answers.shape}, where the built-in kernels give {expected.shape}")
        rows = len(expected)
        if not np.isfinite(answers).all():
            return cls(rows, None, None, None)
        ours, theirs = (array.astype(np.float64).reshape(rows, -1) for array in (answers, expected))
        differences = np.abs(ours - theirs)
        # Answers that are all the same have no range; their size is the scale then.
        scale = float(np.ptp(theirs)) or float(np.abs(theirs).max()) or 1.0
        same = float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))) if ours.shape[1] > 1 else None
        return cls(rows, float(differences.max()) / scale, float(differences.mean()) / scale, same)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Fidelity:
        """Reads what `dataclasses.asdict` wrote."""
        return cls(**facts)

    def refusal(self, quantization: Quantization) -> str | None:
        """Why such answers are wrong for a file of this quantization, or None if they will do."""
        if self.largest is None or self.mean is None:
            return f"its answers to {self.rows} rows are not all finite"
        largest, mean = self._tolerances(quantization)
        if self.largest <= largest and self.mean <= mean:
            return None
        same = "" if self.same_argmax is None else f"; {self.same_argmax:.0%} of the rows have the same largest output"
        return (
            f"its answers to {self.rows} rows differ from the built-in kernels' by up to {self.largest:.2g} and "
            f"{self.mean:.2g} on average, of their range, where {largest:.2g} and {mean:.2g} are tolerated{same}"
        )

    def _tolerances(self, quantization: Quantization) -> tuple[float, float]:
        """The largest and the mean difference that are tolerated of a file of this quantization."""
        if quantization in _COMPUTED_FINELY:
            return _FLOAT
        largest, mean = _DYNAMIC if quantization.startswith("dynamic_") else _QUANTIZED
        return max(largest, self.file_largest or 0.0), max(mean, self.file_mean or 0.0)
