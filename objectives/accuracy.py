"""Accuracy: what the very `.tflite` that ships answers on the evaluation rows, with its interval."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.measurement import FIDELITY, Measurement, Provenance
from litefront.objectives.metrics import FIDELITY_METRICS, Metric, find_metric
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["Accuracy", "accuracy_source", "measure_accuracy", "wilson_interval"]

_Z_95 = 1.959964  # the normal distribution's 97.5 % point
_RESAMPLES = 500


class Accuracy(NamedTuple):
    """A candidate's accuracy.

    Attributes:
        figure: In [0, 1] for the built-in classification metrics; its 95 % interval is Wilson's for right-or-wrong
            scores, and a bootstrap over rows otherwise.
        scores: The score of each row, shape `(rows,)`; None for a metric that gives one number for all of them.
    """

    figure: Measurement
    scores: NDArray[np.float64] | None


def measure_accuracy(
    outputs: NDArray[Any], labels: NDArray[Any], metric: str | Metric, *, answers: str | None = None
) -> Accuracy:
    """Scores a candidate's outputs.

    Args:
        outputs: What the model answered, shape `(rows, ...)`.
        labels: What it should have, or the float model's outputs for a fidelity metric; shape `(rows, ...)`.
        metric: A metric's name, import path, or the function itself.
        answers: What answered, where that is not the device that measures.

    Raises:
        CandidateError: If the outputs are not finite.
        InputError: If the metric raises, or gives something else than a score a row or one finite number.
    """
    if not np.isfinite(outputs).all():
        raise CandidateError("the model's outputs are not finite")
    name, function = _name(metric), find_metric(metric)
    scores = _scores(function, outputs, labels, name)
    figure = Measurement(
        value=float(np.mean(scores)),
        unit=_unit(name),
        provenance=Provenance.MEASURED,
        source=accuracy_source(metric, f"{len(outputs)} rows", answers),
        interval=_interval(scores, function, outputs, labels),
    )
    return Accuracy(figure, scores if scores.ndim else None)


def accuracy_source(metric: str | Metric, rows: str, answers: str | None = None) -> str:
    """How an accuracy was obtained: by which metric, on which rows, against what, and by whose answers."""
    name = _name(metric)
    against = " against the float model" if name in FIDELITY_METRICS else ""
    by_whom = f", answers of {answers}" if answers else ""
    return f"{name} on {rows}{against}{by_whom}"


def _name(metric: str | Metric) -> str:
    return metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")


_FRACTIONS = frozenset({"top1", "top5", "binary", "macro_f1"})


def _unit(metric: str) -> str:
    if metric in FIDELITY_METRICS:
        return FIDELITY
    return "fraction" if metric in _FRACTIONS else "score"


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion: Wilson, JASA 22 (1927), p. 209-212; both ends lie in [0, 1]."""
    p, z2 = successes / trials, _Z_95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half_width = _Z_95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def _scores(function: Metric, outputs: NDArray[Any], labels: NDArray[Any], name: str) -> NDArray[Any]:
    try:
        scores = np.asarray(function(outputs, labels), dtype=float)
    except Exception as error:
        # The metric may be the user's own code: whatever it raises is theirs to read.
        raise InputError(
            f"The metric {name} must take outputs of shape {outputs.shape} and labels of shape {labels.shape}, "
            f"but it raised {type(error).__name__}: {error}"
        ) from error
    if scores.shape not in ((), (len(outputs),)) or not np.isfinite(scores).all():
        raise InputError(
            f"The metric {name} must give one finite score a row ({len(outputs)}) or one finite number, "
            f"but it gave shape {scores.shape}."
        )
    return scores


def _interval(
    scores: NDArray[Any], function: Metric, outputs: NDArray[Any], labels: NDArray[Any]
) -> tuple[float, float] | None:
    rows = len(outputs)
    if scores.ndim == 1 and np.isin(scores, (0.0, 1.0)).all():
        return wilson_interval(float(scores.sum()), rows)
    picks = np.random.default_rng(0).integers(0, rows, size=(_RESAMPLES, rows))
    if scores.ndim == 1:
        means = scores[picks].mean(axis=1)
    else:
        means = np.array([_score_or_nan(function, outputs[pick], labels[pick]) for pick in picks])
        means = means[np.isfinite(means)]
        if not len(means):
            return None
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _score_or_nan(function: Metric, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """One resample's score; NaN where the metric has none, as an area under a curve has without both classes."""
    try:
        return float(function(outputs, labels))  # it gave one number for all rows
    except Exception:
        # The metric may be the user's own code, and it did score the rows as they are.
        return math.nan
