"""Clustered tensors have no more values than asked, keep their zeros, and still answer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from litefront.spaces.clustering import cluster, clusterable_layers, clustering_refusal
from litefront.spaces.errors import CandidateError
from litefront.spaces.tensorflow_environment import import_keras
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData
from litefront.spaces.training.shared_values import SharedValues, k_means

Rows = tuple[np.ndarray, np.ndarray]
LOSS = "sparse_categorical_crossentropy"


@pytest.fixture(params=["tf_keras", "keras3"])
def keras(request: pytest.FixtureRequest) -> ModuleType:
    tf_keras = import_keras()
    import keras as keras3

    return tf_keras if request.param == "tf_keras" else keras3  # type: ignore[no-any-return]


def trained(keras: ModuleType, rows: Rows) -> Any:
    """Layers that are clustered (also one of a nested model), and some that are not."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential([layers.Input((6, 6, 8)), layers.Flatten(), layers.Dense(12, name="inner")], name="body")
    given = layers.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(given)
    x = inner(layers.BatchNormalization(momentum=0.5)(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)))
    model = keras.Model(given, layers.Dense(3, activation="softmax", name="head")(x))
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    model.fit(*rows, epochs=12, batch_size=8, verbose=0)
    return model


def kernels(model: Any) -> dict[str, np.ndarray]:
    return {name: np.array(weight) for name, weight in clusterable_layers(model).items()}


@pytest.mark.parametrize("sparse", [False, True])
def test_each_tensor_has_no_more_values_than_asked(keras: ModuleType, rows: Rows, sparse: bool) -> None:
    model = trained(keras, rows)
    assert set(kernels(model)) == {"conv", "inner", "head"}
    if sparse:
        for weight in clusterable_layers(model).values():
            values = np.array(weight)
            weight.assign(np.where(np.abs(values) < np.quantile(np.abs(values), 0.6), 0, values))
    zeros = {name: values == 0 for name, values in kernels(model).items()}
    whole = np.array(model.get_layer("depthwise").weights[0])
    settings = FineTuning(epochs=4, batch_size=8, learning_rate=1e-3)
    result = cluster(model, 4, TrainingData(*rows, LOSS), settings, preserve_sparsity=sparse)
    for name, values in kernels(result).items():
        assert 2 <= np.unique(values[values != 0]).size <= 4, name
        if sparse:
            assert (values[zeros[name]] == 0).all(), name
    assert np.unique(np.array(result.get_layer("depthwise").weights[0])).size == whole.size
    assert np.mean(np.asarray(result(rows[0])).argmax(axis=1) == rows[1]) > 0.8


def test_the_same_seed_clusters_the_same(keras: ModuleType, rows: Rows) -> None:
    def again() -> dict[str, np.ndarray]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        )
        settings = FineTuning(epochs=1, batch_size=8, seed=2)
        return kernels(cluster(model, 4, TrainingData(*rows, LOSS), settings, preserve_sparsity=False))

    for one, other in zip(again().values(), again().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_clustered_is_known_before(keras: ModuleType, rows: Rows) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.DepthwiseConv2D(3), layers.GlobalAveragePooling2D()])
    assert clustering_refusal(model) == (
        "the model has no dense layer, convolution or embedding that is trainable, whose weights could be clustered"
    )
    with pytest.raises(CandidateError, match="no dense layer"):
        cluster(model, 4, TrainingData(*rows, LOSS), FineTuning(), preserve_sparsity=False)


def test_frozen_layers_are_not_clustered(keras: ModuleType) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, name="first"), keras.layers.Dense(3)])
    model.get_layer("first").trainable = False
    assert clustering_refusal(model) is None
    assert "first" not in clusterable_layers(model)


# --------------------------------------------------------------------------------------------------------- k-means


def test_values_go_to_the_mean_of_their_cluster() -> None:
    values = np.array([[-1.0, -1.2], [0.1, 0.0], [2.0, 2.4]], np.float32)
    expected = np.array([[-1.1, -1.1], [0.05, 0.05], [2.2, 2.2]])
    np.testing.assert_allclose(k_means(values, 3, zeros_stay=False), expected, rtol=1e-6)


def test_zeros_stay_beside_the_clusters() -> None:
    values = np.array([0.0, 0.1, 0.3, 0.0, 5.0, 7.0], np.float32)
    np.testing.assert_allclose(k_means(values, 2, zeros_stay=True), [0, 0.2, 0.2, 0, 6, 6], rtol=1e-6)


def test_few_values_are_left_as_they_are() -> None:
    values = np.array([1.0, 2.0, 2.0, 0.0], np.float32)
    np.testing.assert_array_equal(k_means(values, 2, zeros_stay=True), values)
    np.testing.assert_array_equal(k_means(values, 3, zeros_stay=False), values)


def test_shared_values_move_together() -> None:
    tf_keras = import_keras()
    import tensorflow as tf

    weight = tf.Variable([1.0, 1.0, 0.0, 3.0, 0.0])
    held = SharedValues([weight], zeros_only=False).callback(tf_keras)
    weight.assign([2.0, 4.0, 0.5, 5.0, 0.1])
    held.on_train_batch_end(0)
    np.testing.assert_allclose(weight.numpy(), [3, 3, 0, 5, 0])


def test_zeros_alone_can_be_held() -> None:
    import tensorflow as tf

    weight = tf.Variable([1.0, 1.0, 0.0])
    held = SharedValues([weight], zeros_only=True).callback(import_keras())
    weight.assign([2.0, 4.0, 0.5])
    held.on_train_batch_end(0)
    np.testing.assert_allclose(weight.numpy(), [2, 4, 0])
