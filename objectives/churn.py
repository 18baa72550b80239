"""Prediction churn: how many rows a candidate answers otherwise than the float model, right or wrong.

Two models of the same accuracy may disagree on many rows, and a user who sees an answer change sees a regression
whatever the mean says: Milani Fard et al., "Launch and Iterate: Reducing Prediction Churn", NIPS 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.accuracy import wilson_interval
from litefront.objectives.measurement import Measurement, Provenance

__all__ = ["measure_churn"]


def measure_churn(outputs: NDArray[Any], float_outputs: NDArray[Any]) -> Measurement | None:
    """The share of rows whose prediction differs from the float model's.

    Args:
        outputs: What the candidate answered, shape `(rows, ...)`. A row's prediction is its largest output; of a single
            output, on which side of one half it lies.
        float_outputs: What the float model answered, of the same shape.

    Returns:
        The figure in [0, 1] with Wilson's 95 % interval; None where rows have a single output that is no probability.
    """
    rows = len(outputs)
    ours, theirs = (_predictions(answers.reshape(rows, -1)) for answers in (outputs, float_outputs))
    if ours is None or theirs is None:
        return None
    changed = int(np.count_nonzero(ours != theirs))
    return Measurement(
        value=changed / rows,
        unit="fraction",
        provenance=Provenance.MEASURED,
        source=f"changed predictions on {rows} rows against the float model",
        interval=wilson_interval(changed, rows),
    )


def _predictions(answers: NDArray[Any]) -> NDArray[Any] | None:
    """The predicted class of each row, shape `(rows,)`."""
    if answers.shape[1] > 1:
        return np.asarray(answers.argmax(axis=1))
    if answers.min() < 0 or answers.max() > 1:
        return None
    return np.asarray(answers[:, 0] > 0.5)
