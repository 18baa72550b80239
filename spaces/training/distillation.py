"""Distillation: a model learns the answers of the float model beside, or in place of, the labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531. The softened distributions
of both are compared, and the loss is multiplied by the square of the temperature, so that its gradients keep their
size beside those of the labels (their section 2). Models here end in probabilities more often than in logits; since
log p is the logits less a constant of the row, softmax(log p / T) is softmax(logits / T), and the same holds for a
sigmoid with log p - log(1 - p). Where the output is neither, logits or any quantity, the squared difference is taken:
for logits the limit of a high temperature (their section 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["distillation_loss", "output_kinds"]

_EPSILON = 1e-7
"""Probabilities are kept this far from 0 and 1, as Keras' own cross-entropy keeps them."""

_THROUGH = ("Dropout", "InputLayer")
"""Layers that give on what they are given, when a model is asked for its answers."""


def output_kinds(model: Any) -> list[str]:
    """What each output of a Keras model holds: "softmax", "sigmoid", or "linear" for anything else.

    It is the activation of the layer that gives the output, be it an argument of that layer or a layer of its own; of a
    model within the model the output's own layer is looked at.
    """
    return [_kind_of(tensor) for tensor in model.outputs]


def _kind_of(tensor: Any) -> str:
    history = tensor._keras_history
    layer = getattr(history, "layer", None) or history.operation
    if hasattr(layer, "outputs") and hasattr(layer, "layers"):
        return _kind_of(layer.outputs[history.tensor_index])
    if type(layer).__name__ in _THROUGH and not isinstance(layer.input, list) and layer.input is not tensor:
        return _kind_of(layer.input)
    activation = getattr(layer, "activation", None) or getattr(layer, "function", None) or type(layer)
    name = getattr(activation, "__name__", type(activation).__name__).lower()
    return name if name in ("softmax", "sigmoid") else "linear"


def distillation_loss(
    kind: str,
    *,
    share: float,
    temperature: float,
    answer_shape: tuple[int, ...],
    label_loss: Callable[..., Any] | None,
    label_shape: tuple[int, ...] | None,
    label_dtype: str,
) -> Callable[[Any, Any], Any]:
    """Builds the loss `share` x (loss to the teacher's answers) + `(1 - share)` x (loss to the labels).

    Args:
        kind: What the output holds, of `output_kinds`.
        share: Of the teacher, in (0, 1].
        temperature: By which logits are divided.
        answer_shape: Of one row's answer.
        label_loss: The loss to the labels; None where `share` is 1.
        label_shape: Of one row's label.
        label_dtype: Type that the labels have outside.

    Returns:
        A Keras loss. Its `y_true` holds a row's answer and then its label, flat, as float32.
    """
    import tensorflow as tf

    compare = {"softmax": _softmax_loss, "sigmoid": _sigmoid_loss}.get(kind, _squared_loss)
    size = math.prod(answer_shape)
    shape = answer_shape or (1,)
    if label_shape is not None and math.prod(label_shape) == size:
        # A loss function would spread labels of shape (rows,) against answers of (rows, 1) to (rows, rows).
        label_shape = shape

    def loss(y_true: Any, y_pred: Any) -> Any:
        given = tf.reshape(y_pred, (-1, *shape))
        taught = tf.reshape(y_true[:, :size], (-1, *shape))
        to_teacher = compare(tf, taught, given, temperature)
        if label_loss is None or label_shape is None:
            return to_teacher
        labels = tf.cast(tf.reshape(y_true[:, size:], (-1, *label_shape)), label_dtype)
        return share * to_teacher + (1 - share) * label_loss(labels, given)

    return loss


def _softmax_loss(tf: Any, taught: Any, given: Any, temperature: float) -> Any:
    """Kullback-Leibler divergence of the softened distributions, over the last axis, times T squared."""
    log_taught = tf.nn.log_softmax(_log(tf, taught) / temperature)
    log_given = tf.nn.log_softmax(_log(tf, given) / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(log_taught) * (log_taught - log_given), axis=-1)


def _sigmoid_loss(tf: Any, taught: Any, given: Any, temperature: float) -> Any:
    """The same for independent yes-or-no answers, averaged over the last axis."""
    softened = tf.sigmoid(_logit(tf, taught) / temperature)
    cross = tf.nn.sigmoid_cross_entropy_with_logits(softened, _logit(tf, given) / temperature)
    own = tf.nn.sigmoid_cross_entropy_with_logits(softened, _logit(tf, taught) / temperature)
    return temperature**2 * tf.reduce_mean(cross - own, axis=-1)


def _squared_loss(tf: Any, taught: Any, given: Any, _temperature: float) -> Any:
    return tf.reduce_mean(tf.math.squared_difference(taught, given), axis=-1)


def _log(tf: Any, probabilities: Any) -> Any:
    return tf.math.log(tf.clip_by_value(probabilities, _EPSILON, 1.0))


def _logit(tf: Any, probabilities: Any) -> Any:
    clipped = tf.clip_by_value(probabilities, _EPSILON, 1.0 - _EPSILON)
    return tf.math.log(clipped) - tf.math.log1p(-clipped)
