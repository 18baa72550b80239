"""Removes channels from a model: smaller layer settings, the model built again from them, and slices of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.channel_pruning.channels import Labels
from litefront.spaces.channel_pruning.graph import ChannelGroups
from litefront.spaces.channel_pruning.layer_channels import LayerChannels
from litefront.spaces.training.fine_tuning import keras_of

__all__ = ["without_channels"]


def without_channels(model: Any, groups: ChannelGroups, removed: Labels) -> Any:
    """Builds a model again without some of its channels.

    Args:
        model: The model, which stays as it is.
        groups: What can be removed from it.
        removed: The numbers of the channels to remove, of `groups`.

    Returns:
        A model with layers of the same names, whose weights are those of the model without the removed channels'.
    """
    keras = keras_of(model)

    def smaller(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return keras.models.clone_model(layer, clone_function=smaller_inside)
        return _built_again(layer, groups.layers.get(layer.name, LayerChannels()), removed)

    def smaller_inside(layer: Any) -> Any:
        return (
            keras.models.clone_model(layer)
            if hasattr(layer, "layers")
            else _built_again(layer, LayerChannels(), removed)
        )

    pruned = keras.models.clone_model(model, input_tensors=_named_inputs(keras, model), clone_function=smaller)
    for layer in model.layers:
        weights = _sliced(layer.get_weights(), groups.layers.get(layer.name, LayerChannels()), removed)
        if weights:
            pruned.get_layer(layer.name).set_weights(weights)
    _keep_trainable(model, pruned)
    return pruned


def _named_inputs(keras: Any, model: Any) -> Any:
    """Inputs of the layers' names, where the Keras would take others; None where it does not."""
    if keras.__name__ != "keras" or isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor._keras_history[0].name),
        model.input,
    )


def _built_again(layer: Any, channels: LayerChannels, removed: Labels) -> Any:
    if type(layer).__name__ == "Lambda":
        # Its functions would go through their byte code, which Keras 3 does not take back.
        functions = {"function": layer.function, "mask": layer.mask, "output_shape": layer._output_shape}
        return type(layer)(**functions, arguments=layer.arguments, name=layer.name)
    config = layer.get_config()
    for key, labels in channels.sizes.items():
        config[key] = _left(labels, removed)
    smaller = any(_left(labels, removed) < len(labels) for labels in channels.shapes.values())
    for key, labels in channels.shapes.items():
        # Attention layers remember the shapes of their inputs in one Keras only, and have their query's size as the
        # default of their output's, which must not follow it where the query loses other features.
        if key in config and (config[key] is not None or smaller):
            sizes = config[key] if isinstance(config[key], Iterable) else ()
            config[key] = (*tuple(sizes)[:-1], _left(labels, removed))
    for key in [key for key in config if key.endswith("activation")]:
        # A user's own function cannot be found by the name that stands in the config.
        config[key] = getattr(layer, key, config[key])
    return type(layer).from_config(config)


def _left(labels: Labels, removed: Labels) -> int:
    return int(np.count_nonzero(~np.isin(labels, removed)))


def _sliced(weights: list[NDArray[Any]], channels: LayerChannels, removed: Labels) -> list[NDArray[Any]]:
    sliced = list(weights)
    for axis in channels.axes:
        left = np.flatnonzero(~np.isin(axis.labels, removed))
        sliced[axis.weight] = np.take(sliced[axis.weight], left, axis=axis.axis)
    return sliced


def _keep_trainable(model: Any, pruned: Any) -> None:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _keep_trainable(layer, pruned.get_layer(layer.name))
        elif not layer.trainable:
            pruned.get_layer(layer.name).trainable = False
