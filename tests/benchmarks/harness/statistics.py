"""How well predictions agree with what was published."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

__all__ = ["error_words", "kendall", "relative_errors", "spearman"]


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, as a share of all."""
    pairs = list(combinations(zip(first, second, strict=True), 2))
    return float(np.mean([np.sign((a - c) * (b - d)) for (a, b), (c, d) in pairs]))


def relative_errors(predicted: Sequence[float], published: Sequence[float]) -> np.ndarray:
    """Absolute errors as shares of the published figures, shape `(n,)`."""
    return np.asarray(np.abs(np.asarray(predicted) / np.asarray(published) - 1))


def error_words(predicted: Sequence[float], published: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile and largest absolute relative error, and the spread of its logarithm."""
    errors = relative_errors(predicted, published)
    logs = np.log(np.asarray(predicted) / np.asarray(published))
    return {
        "median": round(float(np.median(errors)), 3),
        "p90": round(float(np.quantile(errors, 0.9)), 3),
        "max": round(float(errors.max()), 3),
        "sigma": round(float(np.sqrt(np.mean(logs**2))), 3),
        "rows": len(errors),
    }


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
