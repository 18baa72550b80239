"""A model without channels gives what the whole model gives with these channels set to zero, kind of layer by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from litefront.spaces.channel_pruning import channel_groups
from litefront.spaces.channel_pruning.surgery import without_channels
from tests.spaces.channel_pruning.made_models import (
    LIBRARIES,
    NOTHING,
    assert_same,
    library,
    masked,
    outputs,
    randomize,
    some_channels,
)

Build = Callable[[Any, Any], Any]


def _plain(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    return layers.Conv2D(6, 1, strides=2, activation="sigmoid")(x)


def _depthwise(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 1, activation="gelu")(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization(scale=False)(x)
    return layers.Conv2D(8, 1)(x)


def _depth_multiplier(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 1)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh")(x)
    return layers.Conv2D(4, 1)(x)


def _separable(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 1)(x)
    x = layers.SeparableConv2D(8, 3, depth_multiplier=2, activation="relu")(x)
    return layers.SeparableConv2D(4, 3, use_bias=False)(x)


def _transposed(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 3, activation="softplus")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2)(x)
    return layers.Conv2D(5, 1)(x)


def _residual(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 3, padding="same")(x)
    y = layers.Activation("elu")(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 3, padding="same", activation="relu")(y)
    return layers.Add()([x, layers.Conv2D(6, 1)(y)])


def _merges(layers: Any, x: Any) -> Any:
    first, second, third = (layers.Conv2D(6, 1, activation="tanh")(x) for _ in range(3))
    x = layers.Maximum()([layers.Subtract()([first, second]), layers.Average()([second, third])])
    return layers.Minimum()([x, first])


def _concatenated(layers: Any, x: Any) -> Any:
    first = layers.Conv2D(6, 1)(x)
    x = layers.Concatenate()([x, first, layers.Conv2D(4, 1)(first)])
    x = layers.BatchNormalization()(x)
    return layers.Conv2D(4, 3)(x)


def _concatenated_rows(layers: Any, x: Any) -> Any:
    return layers.Concatenate(axis=1)([layers.Conv2D(6, 1)(x), layers.Conv2D(6, 3, padding="same")(x)])


def _squeezed(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3)(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    return layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(gate)])


def _resized(layers: Any, x: Any) -> Any:
    x = layers.ZeroPadding2D(1)(layers.Conv2D(6, 3)(x))
    x = layers.Cropping2D(((1, 0), (0, 1)))(layers.UpSampling2D(2)(x))
    x = layers.AveragePooling2D(2)(layers.MaxPooling2D(2, padding="same")(x))
    return layers.SpatialDropout2D(0.5)(layers.Rescaling(2.0, offset=1.0)(x))


def _activations(layers: Any, x: Any) -> Any:
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 3)(x))
    x = layers.PReLU()(layers.Conv2D(6, 3)(x))
    x = layers.LeakyReLU()(layers.Conv2D(4, 1)(x))
    return layers.ELU()(layers.GaussianNoise(0.5)(x))


def _flattened(layers: Any, x: Any) -> Any:
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=2)(x))
    return layers.Dense(8, activation="relu")(x)


def _reshaped(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(6, 3, strides=2)(x)
    height, width = x.shape[1:3]
    x = layers.Reshape((height, width * 6))(x)
    x = layers.Reshape((height * width, 6))(x)
    x = layers.Permute((1, 2))(x)
    x = layers.Dense(8, activation="relu")(layers.Reshape((-1, 6))(x))
    x = layers.Reshape((height * width * 8,))(x)
    return layers.Reshape((height * width, 4, 2))(x)


def _one_dimension(layers: Any, x: Any) -> Any:
    x = layers.Reshape((64, 3))(x)
    x = layers.Conv1D(6, 3, padding="causal")(x)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv1D(6, 3)(layers.ZeroPadding1D(1)(x))
    x = layers.Conv1DTranspose(4, 2)(layers.MaxPooling1D(2)(x))
    return layers.DepthwiseConv1D(3)(layers.Conv1D(6, 1)(x))


def _repeated(layers: Any, x: Any) -> Any:
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(6, 3)(x))
    return layers.RepeatVector(3)(layers.Dropout(0.5)(x))


BODIES: tuple[Build, ...] = (
    _plain,
    _depthwise,
    _depth_multiplier,
    _separable,
    _transposed,
    _residual,
    _merges,
    _concatenated,
    _concatenated_rows,
    _squeezed,
    _resized,
    _activations,
    _flattened,
    _reshaped,
    _one_dimension,
    _repeated,
)


def image_model(keras: Any, body: Build) -> Any:
    inputs = keras.layers.Input((8, 8, 3))
    x = body(keras.layers, inputs)
    x = keras.layers.Flatten()(x)
    return randomize(keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="last")(x)))


IMAGES = np.random.default_rng(0).random((3, 8, 8, 3), dtype=np.float32)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__.strip("_"))
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_removed_channel_is_one_that_is_zero_where_it_is_taken(name: str, body: Build) -> None:
    model = image_model(library(name), body)
    groups = channel_groups(model)
    assert groups.groups
    # Every layer that makes features loses some, but for the last.
    assert set(groups.whole) == {"last"}
    same = without_channels(model, groups, NOTHING)
    for before, after in zip(outputs(model, IMAGES), outputs(same, IMAGES), strict=True):
        np.testing.assert_array_equal(before, after)
    removed = some_channels(groups)
    pruned = without_channels(model, groups, removed)
    assert pruned.count_params() < model.count_params()
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]
    assert_same(pruned, masked(model, groups, removed), IMAGES)
