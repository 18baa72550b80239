"""Quantization-aware training ends in a static int8 file that keeps what it was asked to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.spaces.base_model import BaseModel, load_keras, save_keras
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune
from litefront.spaces.training.quantization_aware_training import (
    convert_quantization_aware,
    float_layers,
    quantization_aware,
    quantization_aware_refusal,
    save_quantization_aware,
)
from litefront.spaces.training.shared_values import k_means
from tests.conftest import run_rows

Rows = tuple[np.ndarray, np.ndarray]
LOSS = "sparse_categorical_crossentropy"
SETTINGS = FineTuning(epochs=2, batch_size=8)


def convolutional() -> Any:
    """What the toolkit knows: normalisations that fold away, depthwise and separable convolutions."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.ZeroPadding2D(1),
            layers.Conv2D(8, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(6.0),
            layers.SeparableConv2D(8, 3, strides=2, activation="relu", name="separable"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


@pytest.fixture(scope="module")
def base(rows: Rows) -> Any:
    model = convolutional()
    fine_tune(model, TrainingData(*rows, LOSS), FineTuning(epochs=20, batch_size=8, learning_rate=0.01))
    return model


def copy_of(model: Any) -> Any:
    copy = import_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


@pytest.fixture(scope="module")
def trained(base: Any, rows: Rows) -> Any:
    return quantization_aware(base, TrainingData(*rows, LOSS), SETTINGS)


def changed(model: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A copy of which every kernel but depthwise ones is changed."""
    copy = import_keras().models.clone_model(model)
    copy.set_weights(
        [
            change(values) if "kernel" in variable.name and "depthwise" not in variable.name else values
            for variable, values in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return copy


def sparse(kernel: np.ndarray) -> np.ndarray:
    """Three quarters of the weights zero, all of the first output among them."""
    result = np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.75), 0, kernel)
    result[..., 0] = 0
    return result


def test_the_trained_model_becomes_a_static_int8_file(base: Any, trained: Any, rows: Rows, tmp_path: Path) -> None:
    assert quantization_aware_refusal(base) is None
    assert float_layers(base) == {}
    content = convert_quantization_aware(save_quantization_aware(trained, tmp_path), 4)
    graph = TfliteGraph(content)
    assert [t.shape for t in graph.inputs] == [(4, 8, 8, 1)] and [t.shape for t in graph.outputs] == [(4, 3)]
    assert [t.type for t in (*graph.inputs, *graph.outputs)] == ["FLOAT32", "FLOAT32"]
    facts = graph.facts(Quantization.QAT_INT8)
    assert facts.quantized_share == 1.0 and facts.ops_quantized == facts.ops
    answers = run_rows(content, rows[0])
    assert np.mean(answers.argmax(axis=1) == rows[1]) > 0.9
    np.testing.assert_allclose(answers, np.asarray(trained(rows[0], training=False)), atol=0.05)


def test_the_range_of_the_input_is_that_of_the_rows(trained: Any, rows: Rows) -> None:
    # The toolkit starts it at -6 and 6, and eight steps would leave it there.
    (low,) = [float(v) for v in trained.weights if v.name.endswith("quantize_layer_min:0")]
    (high,) = [float(v) for v in trained.weights if v.name.endswith("quantize_layer_max:0")]
    assert low == 0.0
    assert high == pytest.approx(rows[0].max(), rel=0.05)


def test_the_same_seed_trains_the_same(keras_classifier: BaseModel, rows: Rows) -> None:
    model = load_keras(keras_classifier)
    # From a teacher alone, as it may be.
    data, settings = TrainingData(rows[0], None, LOSS), FineTuning(epochs=2, batch_size=8, distillation=1.0)
    first, second = (quantization_aware(model, data, settings, teacher=model).get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_zeros_last_into_the_file(base: Any, rows: Rows, tmp_path: Path) -> None:
    # Filters that are zero as a whole have no scale of their own, and yet their biases must last.
    model = changed(base, sparse)
    before = model.get_weights()
    trained = quantization_aware(model, TrainingData(*rows, LOSS), SETTINGS, preserve="sparsity")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    content = convert_quantization_aware(save_quantization_aware(trained, tmp_path), 1, preserve="sparsity")
    assert TfliteGraph(content).facts(Quantization.QAT_INT8).prunable_sparsity >= 0.75
    np.testing.assert_allclose(run_rows(content, rows[0]), np.asarray(trained(rows[0], training=False)), atol=0.05)


def test_zeros_that_drifted_away_cost_the_candidate(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_quantization_aware(trained, tmp_path)
    # The file of a model without zeros, held against one that has them.
    monkeypatch.setattr(
        "litefront.spaces.training.quantization_aware_training._kernels",
        lambda model: {"head": np.zeros(model.get_layer("quant_head")._weight_vars[0][0].shape)},
    )
    with pytest.raises(CandidateError, match=r"kernels have \d+ zeros, but its `.tflite` has only \d+"):
        convert_quantization_aware(path, 1, preserve="sparsity")


def test_clusters_and_zeros_last_into_the_file(base: Any, rows: Rows, tmp_path: Path) -> None:
    model = changed(base, lambda kernel: k_means(sparse(kernel), 4, zeros_stay=True))
    trained = quantization_aware(model, TrainingData(*rows, LOSS), SETTINGS, preserve="clusters")
    path = save_quantization_aware(trained, tmp_path)
    graph = TfliteGraph(convert_quantization_aware(path, 1, preserve="clusters"))
    for operator in graph.operators:
        kernel = operator.kernel()
        if kernel is not None and operator.name != "DEPTHWISE_CONV_2D":
            by_output = np.frombuffer(kernel.data, "i1").reshape(kernel.shape[0], -1)
            assert max(np.unique(output).size for output in by_output) <= 5, operator.name
    assert graph.facts(Quantization.QAT_INT8).prunable_sparsity >= 0.75


def attentive() -> Any:
    """What a text encoder has: layers that the toolkit has no rule for, and dense ones between them."""
    tf, keras = import_tensorflow(), import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = layers.Input((6,), dtype="int32")
    x = layers.Embedding(11, 16, name="table")(ids)
    x = layers.LayerNormalization(name="first_norm")(x)
    a = layers.MultiHeadAttention(2, 8, name="attention")(x, x, attention_mask=tf.not_equal(ids, 0)[:, tf.newaxis, :])
    x = layers.LayerNormalization(name="second_norm")(layers.Add(name="sum")([x, a]))
    x = layers.Dense(16, name="down")(layers.Dense(32, activation="gelu", name="up")(x))
    x = layers.GlobalAveragePooling1D(name="mean")(x, mask=tf.not_equal(ids, 0))
    return keras.Model(ids, layers.Dense(2, activation="softmax", name="head")(x))


def test_layers_without_a_rule_stay_in_float_and_are_named(tmp_path: Path) -> None:
    model = attentive()
    reasons = float_layers(model)
    assert reasons["attention"] == "it takes a tensor by keyword, such as a mask"
    assert reasons["mean"] == "it takes a tensor by keyword, such as a mask"
    assert reasons["table"] == "the quantization-aware training toolkit has no rule for Embedding"
    assert reasons["first_norm"] == "the quantization-aware training toolkit has no rule for LayerNormalization"
    assert reasons["head"] == "the values that it takes from mean have no range"
    assert {"up", "down"}.isdisjoint(reasons)
    assert quantization_aware_refusal(model) is None
    # A model that was loaded again has its slices as plain values, None among them.
    assert float_layers(load_keras(save_keras(model, tmp_path))) == reasons
    ids = np.random.default_rng(0).integers(0, 11, (16, 6)).astype(np.int32)
    trained = quantization_aware(model, TrainingData(ids, ids[:, 0] % 2, LOSS), SETTINGS)
    content = convert_quantization_aware(save_quantization_aware(trained, tmp_path), 1)
    kernels = {k.shape: k.type for op in TfliteGraph(content).operators if (k := op.kernel()) is not None}
    assert kernels[(32, 16)] == kernels[(16, 32)] == "INT8"
    np.testing.assert_allclose(run_rows(content, ids), np.asarray(trained(ids, training=False)), atol=0.05)


def test_frozen_layers_stay_as_they_are(keras_classifier: BaseModel, rows: Rows) -> None:
    model = load_keras(keras_classifier)
    frozen, head = model.layers[0], model.layers[-1]
    frozen.trainable = False
    trained = quantization_aware(model, TrainingData(*rows, LOSS), SETTINGS)
    after = {layer.layer.name: layer.layer for layer in trained.layers if hasattr(layer, "layer")}
    weights = {name: [np.array(v) for v in trained.get_layer(f"quant_{name}").weights] for name in after}
    before = [np.array(v) for v in frozen.weights]
    assert all(any(np.array_equal(b, w) for w in weights[frozen.name]) for b in before)
    assert not any(np.array_equal(np.array(head.weights[0]), w) for w in weights[head.name])


def test_a_keras_3_model_is_refused() -> None:
    import_tensorflow()
    import keras

    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    assert quantization_aware_refusal(model) == (
        "quantization-aware training needs a tf_keras model: its toolkit does not take those of Keras 3"
    )


def test_a_model_with_nothing_to_train_so_is_refused_before(rows: Rows) -> None:
    keras = import_keras()
    layers = keras.layers
    inner = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)], name="body")
    model = keras.Sequential([layers.Input((8, 8, 1)), inner, layers.Softmax()])
    reason = r"no layer of the model with weights can be trained .* \(body: it is a model within the model\)"
    with pytest.raises(CandidateError, match=reason):
        quantization_aware(model, TrainingData(*rows, LOSS), SETTINGS)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("elu", "no rule for the activation elu"),
        ("shared", "it is used 2 times"),
        ("late_norm", "it does not stand alone behind a convolution"),
        ("active_norm", "it stands behind the activation of active, so that it cannot be folded"),
    ],
)
def test_what_a_layer_cannot_have_is_said(layer: str, reason: str) -> None:
    keras = import_keras()
    layers = keras.layers
    given = layers.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.Dense(4, activation="elu", name="elu")(shared(shared(given)))
    x = layers.BatchNormalization(name="late_norm")(layers.Add()([x, given]))
    x = layers.BatchNormalization(name="active_norm")(layers.Dense(4, activation="relu", name="active")(x))
    assert reason in float_layers(keras.Model(given, x))[layer]
