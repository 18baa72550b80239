"""Pruning really reaches what was asked, in training, after stripping, and in every file made from it."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from litefront.spaces.base_model import BaseModel, load_keras, save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.sparsity import Sparsity
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow, seed_everything
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData
from litefront.spaces.training.gradual_pruning import magnitude_mask
from litefront.spaces.training.magnitude_pruning import (
    PruningSteps,
    prunable_layers,
    prune,
    pruning_refusal,
    unprunable_layers,
)
from tests.conftest import run_rows

SPARSITY = 0.75
Rows = tuple[np.ndarray, np.ndarray]

# ------------------------------------------------------------------------------------------------- counted steps

ROWS = (1, 2, 7, 22, 63, 64, 65, 100, 640, 4000, 60_000)
EPOCHS = (1, 2, 3, 7, 20)
BATCHES = (1, 8, 32, 64, 1000)


@pytest.mark.parametrize(("rows", "epochs", "batch_size"), itertools.product(ROWS, EPOCHS, BATCHES))
def test_the_last_update_falls_on_a_step_that_is_trained(rows: int, epochs: int, batch_size: int) -> None:
    steps = PruningSteps.count(rows, FineTuning(epochs=epochs, batch_size=batch_size))
    assert 1 <= steps.end <= steps.total
    assert 1 <= steps.frequency <= steps.end
    assert steps.end % steps.frequency == 0
    assert steps.end // steps.frequency <= 20


def test_steps_are_counted_from_the_data() -> None:
    # 63 batches of 64 hold 4000 rows, so 126 steps; three quarters are 94, less one 93, in fives 90: 18 updates.
    steps = PruningSteps.count(4000, FineTuning(epochs=2, batch_size=64))
    assert (steps.total, steps.end, steps.frequency) == (126, 90, 5)


@pytest.mark.parametrize(("rows", "steps"), [(64, 1), (65, 2), (128, 2), (129, 3)])
def test_a_batch_that_is_not_full_is_a_step(rows: int, steps: int) -> None:
    assert PruningSteps.count(rows, FineTuning(epochs=1, batch_size=64)).total == steps


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}]
)
def test_fine_tuning_that_trains_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`epochs >= 1`, `batch_size >= 1` and `learning_rate > 0` must hold"):
        FineTuning(**values)


def test_continuing_for_no_epochs_is_refused() -> None:
    with pytest.raises(ValueError, match="`continued_epochs` must be None or at least 1, but got 0"):
        FineTuning(continued_epochs=0)


def test_a_continued_fine_tuning_differs_in_its_epochs_alone() -> None:
    fine_tuning = FineTuning(epochs=4, batch_size=3, learning_rate=0.1, seed=2, continued_epochs=1)
    assert vars(fine_tuning.continued()) == vars(fine_tuning) | {"epochs": 1}


# ----------------------------------------------------------------------------------------------------- pruning


def both_keras() -> dict[str, ModuleType]:
    tf_keras = import_keras()
    import keras

    return {"tf_keras": tf_keras, "keras3": keras}


@pytest.fixture(params=["tf_keras", "keras3"])
def keras(request: pytest.FixtureRequest) -> ModuleType:
    return both_keras()[request.param]


def pruned(model: Any, rows: Rows, sparsity: float | str = SPARSITY, **fine_tuning: Any) -> Any:
    inputs, labels = rows
    settings = FineTuning(**({"epochs": 4, "batch_size": 8} | fine_tuning))
    loss = "sparse_categorical_crossentropy"
    return prune(model, Sparsity.parse(sparsity), TrainingData(inputs, labels, loss), settings)


def zeros_by_layer(model: Any) -> dict[str, float]:
    """Share of zeros in the kernel of each layer that has one, nested models too."""
    shares: dict[str, float] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            shares |= zeros_by_layer(layer)
            continue
        for variable in layer.weights:
            if variable.name.split("/")[-1].startswith("kernel"):
                shares[layer.name] = float(np.mean(np.asarray(variable) == 0))
    return shares


def dense(keras: ModuleType, **options: Any) -> Any:
    """A model of one dense layer of 64 x 3 weights."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", **options)]
    return keras.Sequential([keras.layers.Input((8, 8, 1)), *layers])


@pytest.fixture(scope="module")
def pruned_classifier(keras_classifier: BaseModel, rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return save_keras(pruned(load_keras(keras_classifier), rows), tmp_path_factory.mktemp("pruned"))


def test_pruning_reaches_its_sparsity_in_every_prunable_layer(pruned_classifier: BaseModel) -> None:
    shares = zeros_by_layer(load_keras(pruned_classifier))
    # 54 of the 72 weights of the convolution, 648 of the 864 of the dense layer.
    assert list(shares.values()) == [54 / 72, 648 / 864]


def test_pruning_leaves_no_wrapper_and_no_further_variable(
    pruned_classifier: BaseModel, keras_classifier: BaseModel
) -> None:
    after, before = load_keras(pruned_classifier), load_keras(keras_classifier)
    assert [type(layer) for layer in after.layers] == [type(layer) for layer in before.layers]
    assert [w.shape for w in after.get_weights()] == [w.shape for w in before.get_weights()]


def test_a_pruned_model_still_tells_the_classes_apart(pruned_classifier: BaseModel, rows: Rows) -> None:
    answers = np.asarray(load_keras(pruned_classifier)(rows[0])).argmax(axis=1)
    assert np.mean(answers == rows[1]) > 0.8


@pytest.mark.parametrize("quantization", [Quantization.FLOAT32, Quantization.FLOAT16, Quantization.INT8])
def test_the_zeros_are_still_there_in_the_file_of_every_quantization(
    pruned_classifier: BaseModel, quantization: Quantization, rows: Rows
) -> None:
    content = quantize(convert(pruned_classifier, 4), quantization, representative_dataset=rows[0])
    facts = TfliteGraph(content).facts(quantization)
    assert facts.prunable_sparsity >= SPARSITY
    # All 936 kernel weights and 11 biases: the biases need not be zero.
    assert facts.overall_sparsity >= SPARSITY * 936 / 947


@pytest.mark.parametrize(("epochs", "batch_size", "total"), [(1, 64, 1), (1, 8, 3)])
def test_even_a_few_steps_reach_the_sparsity(
    keras: ModuleType, rows: Rows, epochs: int, batch_size: int, total: int
) -> None:
    assert PruningSteps.count(len(rows[0]), FineTuning(epochs=epochs, batch_size=batch_size)).total == total
    shares = zeros_by_layer(pruned(dense(keras), rows, epochs=epochs, batch_size=batch_size))
    assert list(shares.values()) == [0.75]


def test_the_same_seed_prunes_the_same(keras: ModuleType, rows: Rows) -> None:
    first, second = (pruned(dense(keras), rows, seed=3).get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pruning_that_continues_reaches_its_sparsity_and_keeps_the_zeros_from_the_first_step(
    pruned_classifier: BaseModel, rows: Rows, tmp_path: Path
) -> None:
    inputs, labels = rows[0], (rows[1] + 1) % 3  # other labels, so that there is something to learn

    def further(from_sparsity: float) -> Any:
        return prune(
            load_keras(pruned_classifier),
            Sparsity(0.875),
            TrainingData(inputs, labels, "sparse_categorical_crossentropy"),
            FineTuning(epochs=8, batch_size=8, learning_rate=0.03),
            from_level=from_sparsity,
        )

    def grown_again(model: Any) -> int:
        before = load_keras(pruned_classifier).get_weights()
        after = model.get_weights()
        return sum(int(np.count_nonzero(b[a == 0])) for a, b in zip(before, after, strict=True) if a.ndim > 1)

    kept = load_keras(save_keras(further(SPARSITY), tmp_path))
    # 63 of the 72 weights of the convolution, 756 of the 864 of the dense layer.
    assert list(zeros_by_layer(kept).values()) == [63 / 72, 756 / 864]
    # A schedule that starts anew lets the zeros train until it has caught up.
    assert grown_again(kept) == 0 < grown_again(further(0.0))


def test_weights_too_few_for_the_sparsity_lose_a_whole_number(keras: ModuleType, rows: Rows) -> None:
    # A half of 3 weights is 1 or 2; one is always left.
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers])
    (share,) = zeros_by_layer(pruned(model, rows, 0.5)).values()
    assert share in (1 / 3, 2 / 3)


def test_weights_all_alike_cannot_be_told_apart_and_cost_the_candidate(keras: ModuleType, rows: Rows) -> None:
    # Magnitude pruning keeps ties; with a learning rate this small they stay tied.
    with pytest.raises(CandidateError, match=r"pruning to 0.75 ended at 0.0000 in layer dense"):
        pruned(dense(keras, kernel_initializer="ones"), rows, learning_rate=1e-30)


def test_a_model_with_nothing_to_prune_costs_the_candidate(keras: ModuleType, rows: Rows) -> None:
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers])
    assert prunable_layers(model) == {}
    with pytest.raises(CandidateError, match="no layer whose weights can be pruned"):
        pruned(model, rows)


def test_layers_of_a_nested_model_are_pruned(keras: ModuleType, rows: Rows) -> None:
    keras.utils.set_random_seed(0)
    image = keras.layers.Input((8, 8, 1))
    inner = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="inner_conv"), keras.layers.Flatten()],
        name="body",
    )
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="head")(inner(image)))
    assert set(prunable_layers(model)) == {"inner_conv", "head"}
    assert zeros_by_layer(pruned(model, rows)) == {"inner_conv": 0.75, "head": 0.75}


def test_a_nested_model_keeps_its_trained_weights(keras: ModuleType, rows: Rows) -> None:
    keras.utils.set_random_seed(0)
    image = keras.layers.Input((8, 8, 1))
    inner = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(5)], name="body"
    )
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(inner(image)))
    before = inner.layers[-1].get_weights()[0]
    after = pruned(model, rows, 0.5, epochs=1, learning_rate=1e-12).get_layer("body").layers[-1].get_weights()[0]
    kept = after != 0
    np.testing.assert_allclose(after[kept], before[kept], rtol=1e-4, atol=1e-7)


def test_a_layer_that_the_toolkit_does_not_know_is_left_alone(rows: Rows) -> None:
    tf, keras = import_tensorflow(), import_keras()
    seed_everything(0)

    class Scale(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight("kernel", (int(shape[-1]),), initializer="ones")
            super().build(shape)

        def call(self, inputs: Any) -> Any:
            return tf.multiply(inputs, self.kernel)

    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Flatten(),
            Scale(name="scale"),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    assert set(prunable_layers(model)) == {"head"}
    result = pruned(model, rows)
    assert zeros_by_layer(result) == {"scale": 0.0, "head": 0.75}
    assert type(result.get_layer("scale")) is Scale


def test_depthwise_kernels_and_normalisations_are_left_whole(keras: ModuleType, rows: Rows) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.DepthwiseConv2D(3, name="depthwise"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    assert set(prunable_layers(model)) == {"head"}
    assert zeros_by_layer(pruned(model, rows))["head"] == 0.75


def test_a_pruned_file_answers_as_its_model(pruned_classifier: BaseModel, rows: Rows) -> None:
    answers = run_rows(convert(pruned_classifier, 4), rows[0])
    np.testing.assert_allclose(answers, np.asarray(load_keras(pruned_classifier)(rows[0])), atol=1e-5)


def test_prunable_layers_of_a_kept_model_are_those_of_the_model(keras_classifier: BaseModel) -> None:
    found = prunable_layers(load_keras(keras_classifier))
    assert [weight.shape for weights in found.values() for weight in weights] == [(3, 3, 1, 8), (288, 3)]
    assert keras_classifier.path.suffix == Path("model.keras").suffix


# ----------------------------------------------------------------------------------------------------- patterns


def kernel_of(model: Any, layer: str) -> np.ndarray:
    return np.array(model.get_layer(layer).weights[0])


def mixed(keras: ModuleType) -> Any:
    """Layers of which some can have blocks and n of m, and some cannot."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, name="of_one_input", activation="relu"),
            layers.Conv2D(6, 3, name="of_eight", strides=2, activation="relu"),
            layers.DepthwiseConv2D(2, name="depthwise"),
            layers.Conv2DTranspose(4, 2, name="transposed"),
            layers.Flatten(),
            layers.Dense(12, activation="relu", name="dense"),
            layers.Dense(5, activation="relu", name="of_twelve"),
            layers.Dense(3, activation="softmax", name="of_five"),
        ]
    )


def test_what_can_have_a_pattern_is_known_before_training(keras: ModuleType) -> None:
    model = mixed(keras)
    single, block, two_of_four = Sparsity(0.5), Sparsity.parse("block:0.5"), Sparsity.parse("2:4")
    assert set(prunable_layers(model, block)) == {"dense", "of_twelve"}
    assert set(prunable_layers(model, two_of_four)) == {"of_eight", "dense", "of_twelve"}
    assert unprunable_layers(model, single) == {"depthwise": "a DepthwiseConv2D is left whole"}
    blocks, groups = unprunable_layers(model, block), unprunable_layers(model, two_of_four)
    assert blocks["of_eight"] == "blocks need a matrix of weights, but those of this Conv2D have the shape (3, 3, 8, 6)"
    assert blocks["of_five"] == groups["of_five"] == "its 5 inputs cannot be divided into groups of 4"
    assert groups["of_one_input"] == "its 1 inputs cannot be divided into groups of 4"
    assert groups["transposed"].startswith("n of m needs the kernel of a dense layer or a 2-D convolution, but this is")
    for pattern in (single, block, two_of_four):
        assert set(prunable_layers(model, pattern)).isdisjoint(unprunable_layers(model, pattern))


def test_a_pattern_that_nothing_can_have_costs_the_candidate(keras: ModuleType, rows: Rows) -> None:
    model = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(3, 8, activation="softmax", name="conv")]
    )
    assert pruning_refusal(model, Sparsity(0.5)) is None
    with pytest.raises(CandidateError, match=r"no layer whose weights can be pruned so \(conv: blocks need a matrix"):
        pruned(model, rows, "block:0.5")


def test_embeddings_have_no_neighbours(keras: ModuleType) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((5,)), layers.Embedding(8, 8, name="table"), layers.Dense(4, name="dense")])
    assert set(prunable_layers(model)) == {"table", "dense"}
    assert unprunable_layers(model, Sparsity.parse("2:4"))["table"].startswith("an embedding is looked up")


def test_blocks_become_zero_as_a_whole(keras: ModuleType, rows: Rows) -> None:
    model = pruned(mixed(keras), rows, "block:0.75")
    for layer in ("dense", "of_twelve"):
        blocks = kernel_of(model, layer).T.reshape(-1, 4)
        dead = ~blocks.any(axis=1)
        assert dead.mean() == pytest.approx(0.75, abs=1 / len(blocks))
        assert (blocks[~dead] != 0).all()
    for layer in ("of_one_input", "of_eight", "of_five"):
        assert (kernel_of(model, layer) != 0).all()


@pytest.mark.parametrize(("pattern", "zeros"), [("1:4", 1)])
def test_n_of_every_m_inputs_become_zero(keras: ModuleType, rows: Rows, pattern: str, zeros: int) -> None:
    model = pruned(mixed(keras), rows, pattern)
    for layer in ("of_eight", "dense", "of_twelve"):
        groups = np.moveaxis(kernel_of(model, layer), -2, -1).reshape(-1, 4)
        assert (np.count_nonzero(groups == 0, axis=1) == zeros).all()
    assert (kernel_of(model, "of_five") != 0).all()


def test_the_zeros_of_n_of_m_are_neighbours_in_the_file(rows: Rows, tmp_path: Path) -> None:
    content = convert(save_keras(pruned(mixed(import_keras()), rows, "2:4"), tmp_path), 1)
    kernels = [op.kernel() for op in TfliteGraph(content).operators if op.name in ("CONV_2D", "FULLY_CONNECTED")]
    stored = [np.frombuffer(k.data, "<f4").reshape(k.shape) for k in kernels if k is not None and k.shape[-1] % 4 == 0]
    assert len(stored) == 3
    for kernel in stored:
        assert (np.count_nonzero(kernel.reshape(-1, 4) == 0, axis=1) == 2).all()


def test_a_schedule_rises_from_the_first_level_to_the_last() -> None:
    steps = PruningSteps(total=100, end=80, frequency=10)
    levels = [steps.level(step, 0.25, 0.75) for step in range(0, 101, 10)]
    assert levels == sorted(levels) and levels[0] == 0.25 and levels[8:] == [0.75] * 3
    assert levels[4] == pytest.approx(0.75 - 0.5 * 0.5**3)


def test_masks_take_the_least() -> None:
    kernel = np.array([[4.0, -1.0], [-3.0, 8.0], [2.0, 7.0], [1.0, -6.0]])
    assert magnitude_mask(kernel, Sparsity(0.5), 0.5).tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]
    one = magnitude_mask(kernel, Sparsity.parse("1:2"), 0.5)
    assert one.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]
    # On the way there the least of the candidates 1, 3, 1 and 6 go first.
    assert magnitude_mask(kernel, Sparsity.parse("1:2"), 0.25).tolist() == [[1, 0], [1, 1], [1, 1], [0, 1]]
    assert magnitude_mask(kernel, Sparsity.parse("block:0.5"), 0.5).tolist() == [[0, 1]] * 4


def test_a_time_limit_before_the_end_of_the_schedule_costs_the_candidate(keras: ModuleType, rows: Rows) -> None:
    with pytest.raises(CandidateError, match="came at step 1 of training, before the pruning schedule had ended"):
        pruned(dense(keras), rows, max_minutes=1e-9)


def test_the_best_epoch_is_one_at_the_full_sparsity(keras: ModuleType, rows: Rows) -> None:
    # A rate this large makes the loss worse at once: the best epoch of all is the first.
    model = pruned(dense(keras), rows, epochs=8, learning_rate=0.5, validation_share=0.3, patience=9)
    assert list(zeros_by_layer(model).values()) == [0.75]
