"""Which channels go together, and what is left whole and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from litefront.spaces.channel_pruning import ChannelGroups, channel_groups
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


@pytest.fixture(params=LIBRARIES)
def keras(request: pytest.FixtureRequest) -> Any:
    return library(request.param)


def sizes(groups: ChannelGroups) -> dict[str, int]:
    return {group.name: group.size for group in groups.groups}


def members(groups: ChannelGroups) -> dict[str, set[str]]:
    return {group.name: set(group.layers) for group in groups.groups}


def check_removal(model: Any, groups: ChannelGroups, inputs: Any) -> None:
    """What is left whole does not come in the way of removing the rest."""
    removed = some_channels(groups)
    assert_same(without_channels(model, groups, removed), masked(model, groups, removed), inputs)


def test_a_convolution_goes_with_what_follows_it_up_to_what_takes_it(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(6, 1, name="second"),
            layers.Flatten(),
            layers.Dense(2, name="last"),
        ]
    )
    groups = channel_groups(model)
    assert sizes(groups) == {"first": 4, "second": 6}
    assert members(groups) == {"first": {"first", "norm", "depthwise", "second"}, "second": {"second", "last"}}
    assert groups.whole == {"last": "its features are the model's output"}
    assert groups.features == 10


def test_what_is_added_goes_together_and_what_is_concatenated_goes_alone(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((8, 8, 1))
    a, b, c = (layers.Conv2D(4, 1, name=name)(inputs) for name in "abc")
    x = layers.Concatenate()([layers.Add()([a, b]), c])
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="last")(x))
    assert members(channel_groups(model)) == {"a": {"a", "b", "last"}, "c": {"c", "last"}}


def test_what_is_added_to_the_input_or_given_as_output_is_left_whole(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((8, 8, 4), name="image")
    added = layers.Conv2D(4, 1, name="added")(inputs)
    given = layers.Conv2D(3, 1, name="given")(layers.Add()([inputs, added]))
    free = layers.Conv2D(6, 1, name="free")(given)
    model = keras.Model(inputs, [given, layers.Conv2D(2, 1, name="last")(free)])
    groups = channel_groups(model)
    assert sizes(groups) == {"free": 6}
    assert groups.whole == {
        "added": "its features come from the model's input `image`",
        "given": "its features are the model's output",
        "last": "its features are the model's output",
    }
    check_removal(model, groups, np.ones((2, 8, 8, 4), np.float32))


def _custom_layer(keras: Any) -> Any:
    class Swap(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs[..., ::-1]

    return Swap(name="step")


def _convolution_in_disguise(keras: Any) -> Any:
    class Conv2D(keras.layers.Conv2D):  # type: ignore[misc,name-defined]
        pass

    return Conv2D(4, 1, name="step")


NOT_FOLLOWED = {
    "custom": _custom_layer,
    "subclass": _convolution_in_disguise,
    "lambda": lambda keras: keras.layers.Lambda(lambda x: x * 2.0, name="step"),
    "nested": lambda keras: keras.Sequential(
        [keras.layers.Input((6, 6, 8)), keras.layers.Conv2D(4, 1, name="inner")], name="step"
    ),
    "grouped": lambda keras: keras.layers.Conv2D(8, 3, groups=4, name="step"),
    "softmax": lambda keras: keras.layers.Softmax(name="step"),
    "group_norm": lambda keras: keras.layers.GroupNormalization(4, name="step"),
    "other_axis": lambda keras: keras.layers.BatchNormalization(axis=1, name="step"),
    "other_axes": lambda keras: keras.layers.LayerNormalization(axis=(1, 2, 3), name="step"),
    "layer_norm": lambda keras: keras.layers.LayerNormalization(name="step"),
    "activation": lambda keras: keras.layers.Activation("softmax", name="step"),
    "own_function": lambda keras: keras.layers.Activation(lambda x: x * 2.0, name="step"),
    "moved": lambda keras: keras.layers.Permute((3, 1, 2), name="step"),
    "rescaled": lambda keras: keras.layers.Rescaling([1.0] * 8, name="step"),
}


@pytest.mark.parametrize("kind", NOT_FOLLOWED)
def test_what_cannot_be_followed_leaves_whole_what_reaches_it(keras: Any, kind: str) -> None:
    layers = keras.layers
    inputs = layers.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, name="free")(inputs)
    x = layers.Conv2D(8, 1, name="reaching")(x)
    x = layers.Flatten()(NOT_FOLLOWED[kind](keras)(x))
    x = layers.Dense(5, name="behind")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert sizes(groups) == {"free": 6, "behind": 5}
    assert "`step`" in groups.whole["reaching"]
    check_removal(model, groups, np.random.default_rng(0).random((2, 8, 8, 2), dtype=np.float32))


def test_a_layer_that_is_called_twice_is_left_whole_and_named(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((6,))
    shared, activation = layers.Dense(6, name="shared"), layers.ReLU(name="relu")
    x = activation(shared(activation(shared(inputs))))
    x = activation(layers.Dense(4, name="free")(x))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert sizes(groups) == {"free": 4}
    assert groups.whole["shared"] == "it is called 2 times"
    check_removal(model, groups, np.ones((2, 6), np.float32))


def test_arithmetic_on_graph_tensors_is_left_whole(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((6,))
    x = layers.Dense(4, name="reaching")(inputs)
    x = layers.Dense(5, name="behind")(x * 2.0 + 1.0)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert sizes(groups) == {"behind": 5}
    assert "which is of a kind that cannot be followed" in groups.whole["reaching"]
    check_removal(model, groups, np.ones((2, 6), np.float32))


def test_an_own_activation_leaves_its_layer_whole_and_is_kept(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((6,))
    x = layers.Dense(4, activation=lambda x: x * x, name="squared")(inputs)
    x = layers.Dense(5, activation="relu", name="free")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert sizes(groups) == {"free": 5}
    check_removal(model, groups, np.ones((2, 6), np.float32))


def test_channels_first_are_left_whole() -> None:
    keras = library("keras")
    layers = keras.layers
    inputs = layers.Input((2, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="last")(layers.Flatten()(x)))
    groups = channel_groups(model)
    assert groups.groups == ()
    assert groups.whole["first"] == "it has its channels first"


def test_a_model_that_calls_its_layers_itself_has_no_groups(keras: Any) -> None:
    class Own(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.dense = keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Own()
    model(np.ones((1, 2), np.float32))
    groups = channel_groups(model)
    assert groups.groups == ()
    assert "no functional or sequential model" in groups.whole["own"]


def test_several_inputs_by_name_and_sizes_that_are_not_known(keras: Any) -> None:
    layers = keras.layers
    tokens, weights = layers.Input((None,), dtype="int32", name="tokens"), layers.Input((None, 4), name="weights")
    x = layers.Embedding(10, 6, name="embedding")(tokens)
    x = layers.Concatenate()([layers.Conv1D(8, 3, padding="same", name="conv")(x), weights])
    x = layers.GlobalAveragePooling1D()(layers.Dense(6, activation="relu", name="dense")(x))
    model = randomize(keras.Model({"tokens": tokens, "weights": weights}, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert sizes(groups) == {"embedding": 6, "conv": 8, "dense": 6}
    rng = np.random.default_rng(0)
    inputs = {"tokens": rng.integers(0, 10, (3, 7)), "weights": rng.random((3, 7, 4), dtype=np.float32)}
    check_removal(model, groups, inputs)


def test_frozen_layers_stay_frozen_and_nested_ones_keep_their_weights(keras: Any) -> None:
    layers = keras.layers
    nested = keras.Sequential([layers.Input((4,)), layers.Dense(4, name="inner")], name="nested")
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4, name="first"), nested, layers.Dense(5, name="wide")])
    model.add(layers.Dense(2, name="last"))
    model.get_layer("first").trainable = False
    nested.get_layer("inner").trainable = False
    randomize(model)
    pruned = without_channels(model, channel_groups(model), some_channels(channel_groups(model)))
    assert not pruned.get_layer("first").trainable
    assert not pruned.get_layer("nested").get_layer("inner").trainable
    assert pruned.get_layer("wide").trainable
    kernel = pruned.get_layer("nested").get_layer("inner").get_weights()[0]
    np.testing.assert_array_equal(kernel, nested.get_layer("inner").get_weights()[0])


def test_the_model_itself_is_not_changed(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((3,)), layers.Dense(8, name="first"), layers.Dense(2, name="last")])
    before = outputs(model, np.ones((2, 3), np.float32))
    groups = channel_groups(model)
    pruned = without_channels(model, groups, groups.groups[0].channels[:4])
    for weight in pruned.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(before[0], outputs(model, np.ones((2, 3), np.float32))[0])
    assert without_channels(model, groups, NOTHING).count_params() == model.count_params()
