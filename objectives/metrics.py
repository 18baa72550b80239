"""What is counted as a right answer: built-in metrics, and the user's own by import path.

A metric takes the model's outputs and the labels, both with one entry a row, and gives either one score a row (the
accuracy is then their mean) or one number for all rows. Higher is better for every metric.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIDELITY_METRICS", "METRICS", "Metric", "argmax_agreement", "find_metric"]

Metric = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any] | float]


def top1(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """1 for each row whose highest class is its label; labels are class numbers `(rows,)` or one-hot rows."""
    _check_classes(outputs, labels)
    return np.asarray(outputs.reshape(len(outputs), -1).argmax(axis=1) == _class_numbers(labels), dtype=float)


def top5(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """1 for each row whose label is among its five highest classes."""
    _check_classes(outputs, labels)
    highest = np.argsort(-outputs.reshape(len(outputs), -1), axis=1, kind="stable")[:, :5]
    return np.asarray((highest == _class_numbers(labels)[:, None]).any(axis=1), dtype=float)


def binary(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """1 for each row whose single output is on its label's side of one half."""
    return np.asarray((outputs.reshape(len(outputs)) > 0.5) == (labels.reshape(len(labels)) > 0.5), dtype=float)


def macro_f1(outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean over the classes among the labels of F1 = 2 TP / (2 TP + FP + FN)."""
    predicted, expected = outputs.reshape(len(outputs), -1).argmax(axis=1), _class_numbers(labels)
    scores = []
    for label in np.unique(expected):
        hits = np.sum((predicted == label) & (expected == label))
        scores.append(2 * hits / (np.sum(predicted == label) + np.sum(expected == label)))
    return float(np.mean(scores))


def neg_mean_squared_error(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Minus the mean squared difference of each row, so that higher is better."""
    difference = outputs.reshape(len(outputs), -1) - labels.reshape(len(labels), -1)
    return np.asarray(-np.mean(np.square(difference), axis=1))


def argmax_agreement(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """1 for each row whose highest class is that of the float model, whose outputs are the labels."""
    return top1(outputs, labels.reshape(len(labels), -1).argmax(axis=1))


def cosine(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Cosine of the angle between each row and the float model's; 1 where both are zero."""
    ours, theirs = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (outputs, labels))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    both_zero = ~ours.any(axis=1) & ~theirs.any(axis=1)
    products = np.divide(np.sum(ours * theirs, axis=1), norms, out=np.zeros(len(ours)), where=norms > 0)
    return np.asarray(np.where(both_zero, 1.0, products))


METRICS: dict[str, Metric] = {
    metric.__name__: metric
    for metric in (top1, top5, binary, macro_f1, neg_mean_squared_error, argmax_agreement, cosine)
}
"""The built-in metrics by name."""

FIDELITY_METRICS = frozenset({"argmax_agreement", "cosine"})
"""Metrics that compare with the float model's outputs; they need no labels."""


def find_metric(name: str | Metric) -> Metric:
    """Finds a metric by its name or import path (`package.module:function`).

    Raises:
        ValueError: If there is none; the message lists the built-in names.
    """
    if callable(name):
        return name
    if name in METRICS:
        return METRICS[name]
    module_name, separator, attribute = name.partition(":")
    if separator:
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"`metric` {name!r} cannot be imported: {error}.") from error
        if callable(found):
            return found  # type: ignore[no-any-return]
    raise ValueError(f"`metric` must be one of {', '.join(METRICS)}, or `package.module:function`, but got {name!r}.")


def _check_classes(outputs: NDArray[Any], labels: NDArray[Any]) -> None:
    classes, numbers = outputs.reshape(len(outputs), -1).shape[1], _class_numbers(labels)
    if numbers.min() < 0 or numbers.max() >= classes:
        raise ValueError(
            f"labels must be class numbers from 0 to {classes - 1}, but they go from {numbers.min()} to {numbers.max()}"
        )


def _class_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim > 1 and labels.shape[-1] > 1:
        return np.asarray(labels.reshape(len(labels), -1).argmax(axis=1))
    return labels.reshape(len(labels))
