"""How much a channel matters to the model: by its weights, or by the loss on training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.channel_pruning.graph import ChannelGroups
from litefront.spaces.channel_pruning.layer_channels import Role, WeightAxis
from litefront.spaces.channel_pruning.settings import ChannelPruning, Importance
from litefront.spaces.rows import row_count, take_rows
from litefront.spaces.tensorflow_environment import import_tensorflow
from litefront.spaces.training.fine_tuning import TrainingData, keras_of

__all__ = ["channel_importance"]

_BATCH_SIZE = 16


def channel_importance(
    model: Any, groups: ChannelGroups, data: TrainingData, settings: ChannelPruning
) -> NDArray[np.float64]:
    """How much each channel matters.

    Args:
        model: The model.
        groups: What can be removed from it.
        data: Training data; without labels, the Taylor term is that of the model's outputs.
        settings: What channels are judged by.

    Returns:
        Shape `(groups.numbers,)`, by the number of the channel, comparable between groups; the higher, the more it
        matters.
    """
    if settings.importance is Importance.TAYLOR:
        return _taylor(model, groups, data, settings)
    norms = _by_weights(model, groups, Role.MAKES)
    if settings.importance is Importance.NORM:
        return np.nan_to_num(norms)
    scales = _by_weights(model, groups, Role.SCALES)
    return np.nan_to_num(np.where(np.isnan(scales), norms, scales))


def _by_weights(model: Any, groups: ChannelGroups, role: Role) -> NDArray[np.float64]:
    """Mean norm of a channel's slices, each divided by the mean of its weight's; NaN for channels without any."""
    total, members = np.zeros(groups.numbers), np.zeros(groups.numbers)
    for name, axis in _axes(groups, role):
        weight = model.get_layer(name).get_weights()[axis.weight]
        norms = np.sqrt(_sums(np.square(weight, dtype=np.float64), axis))
        total += _by_channel(norms / max(norms.mean(), np.finfo(float).tiny), axis, groups)
        members += _by_channel(np.ones_like(norms), axis, groups)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / members)


def _taylor(model: Any, groups: ChannelGroups, data: TrainingData, settings: ChannelPruning) -> NDArray[np.float64]:
    """Mean over batches of the squared change of the loss, to first order, if the channel were zero where it is taken.

    Equation 8 of arXiv 1906.10771, with the weights that take the channel as the set that is removed: with zeros there
    the model is the one without the channel, whatever lies between the making and the taking of it.
    """
    taking = _axes(groups, Role.TAKES)
    places = sorted({(name, axis.weight) for name, axis in taking})
    variables = [_variable(model.get_layer(name).weights[weight]) for name, weight in places]
    gradients = _gradient_function(model, data, variables, settings.seed)
    weights = dict(zip(places, (np.asarray(variable) for variable in variables), strict=True))
    squared = np.zeros(groups.numbers)
    batches = _batches(data, settings)
    for batch in batches:
        by_place = dict(zip(places, gradients(batch), strict=True))
        change = np.zeros(groups.numbers)
        for name, axis in taking:
            place = name, axis.weight
            change += _by_channel(_sums(weights[place] * by_place[place], axis), axis, groups)
        squared += np.square(change)
    return squared / len(batches)


def _batches(data: TrainingData, settings: ChannelPruning) -> list[NDArray[np.int64]]:
    """Numbers of rows, the same in each call, in batches that are all full."""
    rows = row_count(data.inputs)
    picked = np.random.default_rng(settings.seed).permutation(rows)[: settings.rows]
    size = min(_BATCH_SIZE, len(picked))
    return np.split(picked[: len(picked) // size * size], len(picked) // size)


def _gradient_function(
    model: Any, data: TrainingData, variables: list[Any], seed: int
) -> Callable[[NDArray[np.int64]], list[NDArray[Any]]]:
    """Gives the gradients of the loss on a batch, for each of the variables."""
    tf = import_tensorflow()
    random = tf.random.Generator.from_seed(seed)
    loss = keras_of(model).losses.get(data.loss)

    def loss_of(outputs: Any, labels: Any) -> Any:
        if isinstance(labels, Mapping):
            named = outputs if isinstance(outputs, Mapping) else dict(zip(model.output_names, outputs, strict=True))
            return sum(tf.reduce_mean(loss(labels[name], named[name])) for name in labels)
        if labels is not None:
            return tf.reduce_mean(loss(labels, outputs))
        # The expectation of the square of a random projection's change is the square of the outputs' change.
        return sum(tf.reduce_mean(random.normal(tf.shape(part)) * part) for part in tf.nest.flatten(outputs))

    @tf.function  # type: ignore[untyped-decorator]
    def gradients(inputs: Any, labels: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            value = loss_of(model(inputs, training=False), labels)
        return tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def on_batch(batch: NDArray[np.int64]) -> list[NDArray[Any]]:
        labels = None if data.labels is None else tf.nest.map_structure(tf.constant, take_rows(data.labels, batch))
        inputs = tf.nest.map_structure(tf.constant, take_rows(data.inputs, batch))
        return [tf.convert_to_tensor(gradient).numpy() for gradient in gradients(inputs, labels)]

    return on_batch


def _variable(weight: Any) -> Any:
    """TensorFlow's variable of a weight, which Keras 3 wraps."""
    return weight if callable(weight.value) else weight.value


def _axes(groups: ChannelGroups, role: Role) -> list[tuple[str, WeightAxis]]:
    return [(name, axis) for name, layer in groups.layers.items() for axis in layer.axes if axis.role is role]


def _sums(weight: NDArray[Any], axis: WeightAxis) -> NDArray[Any]:
    return np.asarray(weight.sum(axis=tuple(other for other in range(weight.ndim) if other != axis.axis)))


def _by_channel(values: NDArray[Any], axis: WeightAxis, groups: ChannelGroups) -> NDArray[np.float64]:
    return np.bincount(axis.labels, values, groups.numbers).astype(np.float64)
