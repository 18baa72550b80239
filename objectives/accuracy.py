"""Accuracy: what the very `.tflite` that ships answers on the evaluation rows, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.measurement import FIDELITY, Measurement, Provenance
from litefront.objectives.metrics import FIDELITY_METRICS, Metric, argmax_agreement, find_metric
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.rows import Rows, by_name, pick_output, row_count

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
    outputs: Rows, labels: Rows, metric: str | Metric, *, output: str | None = None, answers: str | None = None
) -> Accuracy:
    """Scores a candidate's outputs.

    Of several outputs one is scored, but a fidelity metric takes all of them together where none is named: for `cosine`
    a row's outputs are one vector, in which each output is divided by the float model's root mean square norm of a row
    so that all count alike; for `argmax_agreement` a row agrees where each of its outputs does.

    Args:
        outputs: What the model answered, shape `(rows, ...)`, or that of each output by its name.
        labels: What it should have, or the float model's outputs for a fidelity metric; likewise.
        metric: A metric's name, import path, or the function itself.
        output: The output that is scored, of several.
        answers: What answered, where that is not the device that measures.

    Raises:
        CandidateError: If the outputs are not finite.
        InputError: If the metric raises, or gives something else than a score a row or one finite number.
    """
    if not all(np.isfinite(array).all() for array in by_name(outputs, [""]).values()):
        raise CandidateError("the model's outputs are not finite")
    name, function, rows = _name(metric), find_metric(metric), row_count(outputs)
    if name in FIDELITY_METRICS and output is None and isinstance(outputs, Mapping) and isinstance(labels, Mapping):
        scores = _scores_together(function, outputs, labels)
        interval: tuple[float, float] | None = _score_interval(scores)
    else:
        scored, expected = pick_output(outputs, output), pick_output(labels, output)
        scores = _scores(function, scored, expected, name)
        interval = _score_interval(scores) if scores.ndim else _resampled_interval(function, scored, expected)
    figure = Measurement(
        value=float(np.mean(scores)),
        unit=_unit(name),
        provenance=Provenance.MEASURED,
        source=accuracy_source(metric, f"{rows} rows", answers, output=output),
        interval=interval,
    )
    return Accuracy(figure, scores if scores.ndim else None)


def accuracy_source(metric: str | Metric, rows: str, answers: str | None = None, *, output: str | None = None) -> str:
    """How an accuracy was obtained: by which metric, of which output, on which rows, against what, by whose answers."""
    name = _name(metric)
    of = f" of {output}" if output else ""
    against = " against the float model" if name in FIDELITY_METRICS else ""
    by_whom = f", answers of {answers}" if answers else ""
    return f"{name}{of} on {rows}{against}{by_whom}"


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


def _scores_together(
    function: Metric, outputs: Mapping[str, NDArray[Any]], labels: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """A fidelity metric's score of each row over all outputs, shape `(rows,)`."""
    if set(outputs) != set(labels):
        raise CandidateError(f"its outputs are {', '.join(outputs)}, where the float model's are {', '.join(labels)}")
    if function is argmax_agreement:
        each = [np.asarray(function(outputs[name], labels[name]), float) for name in labels]
        return np.asarray(np.min(each, axis=0))
    ours, theirs = [], []
    for name, expected in labels.items():
        flat = expected.reshape(len(expected), -1).astype(np.float64)
        norm = float(np.sqrt(np.square(flat).sum(axis=1).mean())) or 1.0
        ours.append(outputs[name].reshape(len(expected), -1) / norm)
        theirs.append(flat / norm)
    return np.asarray(function(np.concatenate(ours, axis=1), np.concatenate(theirs, axis=1)), float)


def _score_interval(scores: NDArray[Any]) -> tuple[float, float]:
    """The 95 % interval of the mean of a score a row: Wilson's, or a bootstrap where scores are not right or wrong."""
    rows = len(scores)
    if np.isin(scores, (0.0, 1.0)).all():
        return wilson_interval(float(scores.sum()), rows)
    low, high = np.quantile(scores[_picks(rows)].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _resampled_interval(function: Metric, outputs: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float] | None:
    """The same of a metric that gives one number for all rows."""
    means = np.array([_score_or_nan(function, outputs[pick], labels[pick]) for pick in _picks(len(outputs))])
    means = means[np.isfinite(means)]
    if not len(means):
        return None
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _picks(rows: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, rows, size=(_RESAMPLES, rows))


def _score_or_nan(function: Metric, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """One resample's score; NaN where the metric has none, as an area under a curve has without both classes."""
    try:
        return float(function(outputs, labels))  # it gave one number for all rows
    except Exception:
        # The metric may be the user's own code, and it did score the rows as they are.
        return math.nan
