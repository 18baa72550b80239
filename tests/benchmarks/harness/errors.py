"""How far predictions are from what was published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["error_words", "relative_errors"]


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
