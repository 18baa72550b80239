"""Small models of both Keras with random weights, and what they would give if channels were set to zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from litefront.spaces.channel_pruning.channels import Labels
from litefront.spaces.channel_pruning.graph import ChannelGroups
from litefront.spaces.channel_pruning.layer_channels import Role
from litefront.spaces.channel_pruning.surgery import without_channels
from litefront.spaces.tensorflow_environment import import_keras

LIBRARIES = ("tf_keras", "keras")
NOTHING = np.zeros(0, dtype=np.int64)


def library(name: str) -> Any:
    legacy = import_keras()
    if name == "tf_keras":
        return legacy
    import keras

    return keras


def randomize(model: Any, seed: int = 0) -> Any:
    """Gives all weights values that are not 0, those that are variances positive ones."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [rng.normal(0.1, 0.4, weight.shape) for weight in layer.get_weights()]
        if type(layer).__name__ == "BatchNormalization":
            weights = [np.abs(weight) + 0.5 for weight in weights]
        layer.set_weights(weights)
    return model


def outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    given = model(inputs, training=False)
    return [np.asarray(part) for part in (given if isinstance(given, list | tuple) else [given])]


def masked(model: Any, groups: ChannelGroups, removed: Labels) -> Any:
    """The model at its full size, with zeros wherever a removed channel is taken: there it is as good as gone."""
    copy = without_channels(model, groups, NOTHING)
    for name, layer in groups.layers.items():
        weights = copy.get_layer(name).get_weights()
        for axis in layer.axes:
            if axis.role is Role.TAKES:
                weight = np.moveaxis(weights[axis.weight], axis.axis, 0)
                weight[np.isin(axis.labels, removed)] = 0
        copy.get_layer(name).set_weights(weights)
    return copy


def some_channels(groups: ChannelGroups, seed: int = 0, share: float = 0.5) -> Labels:
    """About this share of the channels of each group, picked at random; at least one, and one stays."""
    rng = np.random.default_rng(seed)
    picked = [
        rng.permutation(group.channels)[: min(max(1, round(group.size * share)), group.size - 1)]
        for group in groups.groups
    ]
    return np.concatenate([NOTHING, *picked])


def assert_same(ours: Any, theirs: Any, inputs: Any, tolerance: float = 1e-5) -> None:
    """Checks that two models give the same, but for the rounding of float32 sums."""
    for our, their in zip(outputs(ours, inputs), outputs(theirs, inputs), strict=True):
        np.testing.assert_allclose(our, their, rtol=0, atol=tolerance * max(1.0, float(np.abs(their).max())))
