"""Random graphs of all kinds of layers: whatever is removed from them, the rest gives what it gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from litefront.spaces.channel_pruning import channel_groups
from litefront.spaces.channel_pruning.surgery import without_channels
from tests.spaces.channel_pruning.made_models import LIBRARIES, assert_same, library, masked, randomize, some_channels

STEPS = 10


class GraphMaker:
    """Adds random layers to a graph of 6 x 6 images."""

    def __init__(self, keras: Any, seed: int) -> None:
        self.keras = keras
        self.layers = keras.layers
        self.rng = np.random.default_rng(seed)
        self.inputs = self.layers.Input((6, 6, 3))
        self.tensors = [self.layers.Conv2D(6, 3, padding="same")(self.inputs)]

    def model(self) -> Any:
        makers = (self.convolved, self.separated, self.depthwise, self.changed, self.merged, self.joined, self.gated)
        for _ in range(STEPS):
            self.tensors.append(makers[self.rng.integers(len(makers))]())
        x = self.tensors[-1]
        if self.rng.random() < 0.5:
            x = self.layers.Flatten()(self.layers.MaxPooling2D(2)(x))
        else:
            x = self.layers.GlobalAveragePooling2D()(x)
        x = self.layers.Dense(6, activation="tanh")(x)
        outputs = [self.layers.Dense(3)(x)]
        if self.rng.random() < 0.3:
            outputs.append(self.any_tensor())
        return randomize(self.keras.Model(self.inputs, outputs), seed=1)

    def any_tensor(self) -> Any:
        # The latest ones more often, or else graphs would be broad and shallow.
        back = min(int(self.rng.geometric(0.5)), len(self.tensors))
        return self.tensors[-back]

    def size(self) -> int:
        return int(self.rng.choice([4, 6, 8]))

    def convolved(self) -> Any:
        kernel = int(self.rng.choice([1, 3]))
        return self.layers.Conv2D(self.size(), kernel, padding="same", activation="tanh")(self.any_tensor())

    def separated(self) -> Any:
        return self.layers.SeparableConv2D(self.size(), 3, padding="same", activation="relu")(self.any_tensor())

    def depthwise(self) -> Any:
        multiplier = int(self.rng.choice([1, 2]))
        return self.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=multiplier)(self.any_tensor())

    def changed(self) -> Any:
        kinds = (
            self.layers.BatchNormalization(),
            self.layers.ReLU(),
            self.layers.PReLU(shared_axes=[1, 2]),
            self.layers.Activation("sigmoid"),
            self.layers.Dropout(0.5),
            self.layers.AveragePooling2D(3, strides=1, padding="same"),
            self.layers.Dense(self.size(), activation="gelu"),
            self.layers.LayerNormalization(),
        )
        return kinds[self.rng.integers(len(kinds))](self.any_tensor())

    def merged(self) -> Any:
        first = self.any_tensor()
        alike = [tensor for tensor in self.tensors if tensor.shape[-1] == first.shape[-1]]
        second = alike[self.rng.integers(len(alike))]
        kinds = (self.layers.Add, self.layers.Multiply, self.layers.Maximum, self.layers.Average)
        return kinds[self.rng.integers(len(kinds))]()([first, second])

    def joined(self) -> Any:
        both = self.layers.Concatenate()([self.any_tensor(), self.any_tensor()])
        return self.layers.Conv2D(self.size(), 1)(both)

    def gated(self) -> Any:
        x = self.any_tensor()
        size = int(x.shape[-1])
        gate = self.layers.Dense(4, activation="relu")(self.layers.GlobalMaxPooling2D()(x))
        gate = self.layers.Dense(size, activation="sigmoid")(gate)
        return self.layers.Multiply()([x, self.layers.Reshape((1, 1, size))(gate)])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_left_of_a_random_graph_gives_what_it_gave(name: str, seed: int) -> None:
    model = GraphMaker(library(name), seed).model()
    groups = channel_groups(model)
    assert groups.groups
    removed = some_channels(groups, seed, share=0.4)
    pruned = without_channels(model, groups, removed)
    images = np.random.default_rng(seed).random((2, 6, 6, 3), dtype=np.float32)
    assert_same(pruned, masked(model, groups, removed), images)
    # What is left can be followed as before.
    left = {group.name: group.size for group in channel_groups(pruned).groups}
    gone = {group.name: int(np.isin(group.channels, removed).sum()) for group in groups.groups}
    assert left == {group.name: group.size - gone[group.name] for group in groups.groups}
