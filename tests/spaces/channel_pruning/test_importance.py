"""What a channel is judged by, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from litefront.spaces.channel_pruning import ChannelPruning, Importance, channel_groups
from litefront.spaces.channel_pruning.importance import channel_importance
from litefront.spaces.channel_pruning.surgery import without_channels
from litefront.spaces.training.fine_tuning import TrainingData
from tests.spaces.channel_pruning.made_models import LIBRARIES, assert_same, library, randomize

ROWS = 16
"""One batch."""


@pytest.fixture(params=LIBRARIES)
def keras(request: pytest.FixtureRequest) -> Any:
    return library(request.param)


def dense_model(keras: Any) -> Any:
    layers = keras.layers
    return randomize(keras.Sequential([layers.Input((3,)), layers.Dense(4, name="first"), layers.Dense(2)]))


def convolutional_model(keras: Any) -> Any:
    """Two convolutions with batch normalisation; the first two channels of each are dead."""
    layers = keras.layers
    model = keras.Sequential([layers.Input((6, 6, 1))])
    for block in "ab":
        model.add(layers.Conv2D(4, 3, padding="same", name=f"conv_{block}"))
        model.add(layers.BatchNormalization(name=f"norm_{block}"))
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(2, activation="softmax"))
    randomize(model)
    for block in "ab":
        kernel, bias = model.get_layer(f"conv_{block}").get_weights()
        gamma, beta, mean, variance = model.get_layer(f"norm_{block}").get_weights()
        for array in (kernel, bias, beta, mean):
            array[..., :2] = 0
        model.get_layer(f"conv_{block}").set_weights([kernel, bias])
        model.get_layer(f"norm_{block}").set_weights([gamma, beta, mean, variance])
    return model


def data_of(shape: tuple[int, ...], labels: np.ndarray | None, loss: Any, rows: int = ROWS) -> TrainingData:
    return TrainingData(np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32), labels, loss)


def test_the_taylor_term_is_the_squared_first_order_change_of_the_loss(keras: Any) -> None:
    model = dense_model(keras)
    targets = np.random.default_rng(1).normal(size=(ROWS, 2)).astype(np.float32)
    data = data_of((3,), targets, "mean_squared_error")
    groups = channel_groups(model)
    found = channel_importance(model, groups, data, ChannelPruning())[groups.groups[0].channels]
    (first, first_bias), (second, second_bias) = (layer.get_weights() for layer in model.layers)
    hidden = data.inputs @ first + first_bias
    error = hidden @ second + second_bias - targets
    # d/ds of mean((error of the outputs with s times the unit's part)^2) at s = 1.
    change = [(2 * error * hidden[:, [unit]] * second[unit]).mean() for unit in range(4)]
    np.testing.assert_allclose(found, np.square(change), rtol=1e-4)


def test_the_taylor_term_is_averaged_over_batches(keras: Any) -> None:
    model = dense_model(keras)
    groups = channel_groups(model)
    targets = np.random.default_rng(1).normal(size=(2 * ROWS, 2)).astype(np.float32)
    both = data_of((3,), targets, "mean_squared_error", rows=2 * ROWS)
    order = np.random.default_rng(0).permutation(2 * ROWS)
    halves = [
        TrainingData(both.inputs[part], targets[part], both.loss)  # type: ignore[index]
        for part in (order[:ROWS], order[ROWS:])
    ]
    alone = [channel_importance(model, groups, half, ChannelPruning()) for half in halves]
    together = channel_importance(model, groups, both, ChannelPruning())
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-4)


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no labels"])
def test_a_dead_channel_has_no_taylor_term_and_its_removal_changes_nothing(keras: Any, labelled: bool) -> None:
    model = convolutional_model(keras)
    groups = channel_groups(model)
    data = data_of((6, 6, 1), np.arange(ROWS) % 2 if labelled else None, "sparse_categorical_crossentropy")
    found = channel_importance(model, groups, data, ChannelPruning())
    for group in groups.groups:
        assert (found[group.channels[:2]] == 0).all()
        assert (found[group.channels[2:]] > 0).any()
    dead = np.concatenate([group.channels[:2] for group in groups.groups])
    assert_same(without_channels(model, groups, dead), model, data.inputs, tolerance=1e-6)


def test_a_norm_is_that_of_what_makes_the_channel_relative_to_its_layer(keras: Any) -> None:
    model = dense_model(keras)
    groups = channel_groups(model)
    settings = ChannelPruning(importance=Importance.NORM)
    found = channel_importance(model, groups, data_of((3,), None, "mse"), settings)[groups.groups[0].channels]
    norms = np.linalg.norm(model.layers[0].get_weights()[0], axis=0)
    np.testing.assert_allclose(found, norms / norms.mean(), rtol=1e-6)


def test_channels_that_are_added_are_judged_by_all_that_make_them(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((3,))
    makers = [layers.Dense(4, name=name, use_bias=False) for name in "ab"]
    x = layers.Add()([maker(inputs) for maker in makers])
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    groups = channel_groups(model)
    settings = ChannelPruning(importance=Importance.NORM)
    found = channel_importance(model, groups, data_of((3,), None, "mse"), settings)[groups.groups[0].channels]
    norms = [np.linalg.norm(maker.get_weights()[0], axis=0) for maker in makers]
    np.testing.assert_allclose(found, np.mean([norm / norm.mean() for norm in norms], axis=0), rtol=1e-6)


def test_a_batch_normalisation_judges_by_its_scale_and_a_norm_stands_in_without_one(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(4, name="normed"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(4, name="bare"),
            layers.Dense(2),
        ]
    )
    randomize(model)
    groups = channel_groups(model)
    settings = ChannelPruning(importance="batch_norm")  # type: ignore[arg-type]
    found = channel_importance(model, groups, data_of((3,), None, "mse"), settings)
    normed, bare = (group.channels for group in groups.groups)
    gamma = np.abs(model.get_layer("norm").get_weights()[0])
    norms = np.linalg.norm(model.get_layer("bare").get_weights()[0], axis=0)
    np.testing.assert_allclose(found[normed], gamma / gamma.mean(), rtol=1e-6)
    np.testing.assert_allclose(found[bare], norms / norms.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"iterations": 0}, "`iterations >= 1`"),
        ({"rows": 0}, "`rows >= 1`"),
        ({"cost_exponent": 2.5}, "`0 <= cost_exponent <= 2`"),
        ({"minimum_share": 1.0}, "`0 <= minimum_share < 1`"),
        ({"importance": "gradient"}, "'gradient' is not a valid Importance"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ChannelPruning(**values)
