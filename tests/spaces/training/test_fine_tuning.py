"""Training further: both Keras's alike, from labels and from a teacher, and the same again for a seed."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow
from litefront.spaces.training import fine_tuning, training_watch
from litefront.spaces.training.distillation import distillation_loss, output_kinds
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune, keras_of

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(48, 6)).astype(np.float32)
LABELS = (INPUTS[:, :3].argmax(axis=1)).astype(np.int64)
CLASSES = TrainingData(INPUTS, LABELS, "sparse_categorical_crossentropy")
UNLABELLED = TrainingData(INPUTS, None, "sparse_categorical_crossentropy")


def keras3() -> ModuleType:
    import_tensorflow()
    import keras

    return keras  # type: ignore[no-any-return]


@pytest.fixture(params=["tf_keras", "keras3"])
def keras(request: pytest.FixtureRequest) -> ModuleType:
    return import_keras() if request.param == "tf_keras" else keras3()


def net(keras: ModuleType, *, seed: int = 0, dropout: float = 0.0, units: int = 3, last: str = "softmax") -> Any:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.layers.Input((6,)),
            keras.layers.Dense(8, activation="relu", name="body"),
            keras.layers.Dropout(dropout),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(units, activation=last, name="head"),
        ]
    )


def share_right(model: Any) -> float:
    return float(np.mean(np.asarray(model(INPUTS)).argmax(axis=1) == LABELS))


# -------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"distillation": 1.5}, "`distillation` must lie between 0 and 1, but got 1.5"),
        ({"distillation": math.nan}, "`distillation` must lie between 0 and 1"),
        ({"temperature": 0.0}, "`temperature` must be above 0, but got 0.0"),
        ({"temperature": math.inf}, "`temperature` must be above 0"),
        ({"validation_share": 1.0}, "`validation_share` must be at least 0 and below 1, but got 1.0"),
        ({"patience": 0}, "`patience` must be at least 1, but got 0"),
        ({"max_minutes": 0.0}, "`max_minutes` must be None or above 0, but got 0.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        FineTuning(**values)


def test_rows_held_back_are_not_among_the_steps() -> None:
    settings = FineTuning(epochs=3, batch_size=10, validation_share=0.25)
    assert (settings.held_back(100), settings.steps(100)) == (25, 24)
    assert (FineTuning().held_back(100), settings.held_back(2)) == (0, 1)
    assert FineTuning(validation_share=0.99).held_back(2) == 1


def test_one_row_cannot_be_split() -> None:
    with pytest.raises(InputError, match="at least 2 training rows, to hold one back, but got 1"):
        FineTuning(validation_share=0.5).held_back(1)


# -------------------------------------------------------------------------------------------------------- training


def test_a_model_learns_its_labels(keras: ModuleType) -> None:
    model = net(keras)
    assert share_right(model) < 0.7
    fine_tune(model, CLASSES, FineTuning(epochs=40, batch_size=16, learning_rate=0.02))
    assert share_right(model) > 0.95


def test_the_same_seed_trains_the_same(keras: ModuleType) -> None:
    settings = FineTuning(epochs=2, batch_size=16, seed=3, distillation=0.5, validation_share=0.25)

    def trained() -> list[np.ndarray]:
        model = net(keras, seed=1, dropout=0.5)
        fine_tune(model, CLASSES, settings, teacher=net(keras, seed=5))
        return [np.array(variable) for variable in model.weights]

    for one, again in zip(trained(), trained(), strict=True):
        np.testing.assert_array_equal(one, again)


def test_frozen_layers_stay_as_they_are_and_the_model_can_be_saved(keras: ModuleType, tmp_path: Path) -> None:
    model = net(keras)
    model.get_layer("body").trainable = False
    before = [np.array(variable) for variable in model.get_layer("body").weights]
    head = np.array(model.get_layer("head").weights[0])
    fine_tune(model, CLASSES, FineTuning(epochs=1, batch_size=16, distillation=0.5), teacher=net(keras, seed=5))
    for one, other in zip(before, model.get_layer("body").weights, strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    assert (np.array(model.get_layer("head").weights[0]) != head).any()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(loaded(INPUTS)), np.asarray(model(INPUTS)))


def test_several_inputs_come_by_name(keras: ModuleType) -> None:
    layers = keras.layers
    left, right = layers.Input((6,), name="left"), layers.Input((6,), name="right")
    keras.utils.set_random_seed(0)
    output = layers.Dense(3, activation="softmax")(layers.Concatenate()([left, right]))
    model = keras.Model([left, right], output)
    rows = {"right": INPUTS, "left": np.zeros_like(INPUTS)}
    before = np.array(model.weights[0])
    data = TrainingData(rows, LABELS, "sparse_categorical_crossentropy")
    fine_tune(model, data, FineTuning(epochs=1, batch_size=16, distillation=0.5), teacher=model)
    moved = np.abs(np.array(model.weights[0]) - before).max(axis=1)
    # The input that is zero everywhere has no gradient: rows of each name went to the input of that name.
    assert (moved[:6] == 0).all() and (moved[6:] > 0).all()


def test_labels_of_one_figure_a_row_are_not_spread_against_each_other(keras: ModuleType) -> None:
    # Figures of shape (rows,) and answers of shape (rows, 1): spread, every answer would go to the mean.
    figures = INPUTS[:, 0] * 2
    settings = FineTuning(epochs=60, batch_size=16, learning_rate=0.03, distillation=0.01)
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(1)])
    teacher = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(1)])
    fine_tune(model, TrainingData(INPUTS, figures, "mse"), settings, teacher=teacher)
    assert np.corrcoef(np.asarray(model(INPUTS))[:, 0], figures)[0, 1] > 0.99


def test_what_is_no_keras_model_is_refused() -> None:
    with pytest.raises(InputError, match="must be one of tf_keras or Keras 3, but got"):
        keras_of(object())


# ---------------------------------------------------------------------------------------------------- distillation


def test_answers_of_each_kind_are_learned_without_labels(keras: ModuleType) -> None:
    def three(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        given = keras.layers.Input((6,))
        heads = [keras.layers.Dense(3, activation=activation) for activation in ("softmax", "sigmoid", None)]
        return keras.Model(given, [head(given) for head in heads])

    teacher, model = three(5), three(1)
    assert output_kinds(teacher) == ["softmax", "sigmoid", "linear"]
    before = [np.abs(np.asarray(a) - b).mean() for a, b in zip(model(INPUTS), teacher(INPUTS), strict=True)]
    fine_tune(
        model,
        UNLABELLED,
        FineTuning(epochs=60, batch_size=16, learning_rate=0.03, distillation=1.0),
        teacher=teacher,
    )
    after = [np.abs(np.asarray(a) - b).mean() for a, b in zip(model(INPUTS), teacher(INPUTS), strict=True)]
    assert all(now < then / 3 for now, then in zip(after, before, strict=True))


def test_several_outputs_have_no_one_label(keras: ModuleType) -> None:
    given = keras.layers.Input((6,))
    model = keras.Model(given, [keras.layers.Dense(3)(given), keras.layers.Dense(2)(given)])
    with pytest.raises(InputError, match="several outputs needs `distillation` to be 0 or 1"):
        fine_tune(model, CLASSES, FineTuning(distillation=0.5), teacher=model)


def test_no_labels_and_no_teacher_is_refused(keras: ModuleType) -> None:
    with pytest.raises(InputError, match="without labels needs `distillation` to be 1"):
        fine_tune(net(keras), UNLABELLED, FineTuning(distillation=0.9), teacher=net(keras))


def test_answers_too_large_to_be_kept_teach_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = import_keras()

    def trained() -> np.ndarray:
        model = net(keras, seed=1)
        fine_tune(model, UNLABELLED, FineTuning(epochs=1, batch_size=16, distillation=1.0), teacher=net(keras, seed=5))
        return np.array(model.weights[0])

    kept = trained()
    monkeypatch.setattr(fine_tuning, "MOST_KEPT_BYTES", 0)
    np.testing.assert_allclose(trained(), kept, rtol=1e-4, atol=1e-6)


def test_the_activation_is_found_where_it_stands(keras: ModuleType) -> None:
    layers = keras.layers
    given = layers.Input((6,))
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(3), layers.Softmax()])
    outputs = [
        inner(given),
        layers.Activation("sigmoid")(layers.Dense(1)(given)),
        layers.Dropout(0.1)(layers.Dense(2, activation="softmax")(given)),
        layers.Reshape((3, 1))(layers.Dense(3, activation="softmax")(given)),
    ]
    assert output_kinds(keras.Model(given, outputs)) == ["softmax", "sigmoid", "softmax", "linear"]


def distilled(kind: str, taught: Any, given: Any, temperature: float) -> np.ndarray:
    loss = distillation_loss(
        kind,
        share=1.0,
        temperature=temperature,
        answer_shape=np.shape(taught)[1:],
        label_loss=None,
        label_shape=None,
        label_dtype="float32",
    )
    import_tensorflow()
    return np.asarray(loss(np.asarray(taught, np.float32), np.asarray(given, np.float32)))


def test_the_softmax_loss_is_the_divergence_of_the_softened_logits() -> None:
    taught, given = np.array([[2.0, 0.5, -1.0]]), np.array([[0.3, 0.2, 0.1]])

    def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
        powers = np.exp(logits / temperature)
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    for temperature in (1.0, 4.0):
        p, q = softmax(taught, temperature), softmax(given, temperature)
        expected = temperature**2 * (p * np.log(p / q)).sum(axis=-1)
        found = distilled("softmax", softmax(taught, 1.0), softmax(given, 1.0), temperature)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_sigmoid_loss_is_the_divergence_of_the_softened_logits() -> None:
    taught, given, temperature = np.array([[2.0, -1.0]]), np.array([[0.3, 0.2]]), 3.0

    def sigmoid(logits: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-logits)))

    p, q = sigmoid(taught / temperature), sigmoid(given / temperature)
    expected = temperature**2 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), axis=-1)
    np.testing.assert_allclose(distilled("sigmoid", sigmoid(taught), sigmoid(given), temperature), expected, rtol=1e-4)


def test_certain_answers_have_a_finite_loss() -> None:
    for kind in ("softmax", "sigmoid", "linear"):
        assert np.isfinite(distilled(kind, [[1.0, 0.0]], [[0.0, 1.0]], 2.0)).all()


# ---------------------------------------------------------------------------------------------- stopping, the best


def test_the_best_epoch_is_kept(keras: ModuleType) -> None:
    # Labels at random: what is learned of them makes the loss on other rows worse, epoch by epoch.
    labels = np.random.default_rng(1).permutation(LABELS)
    losses: list[float] = []
    model = net(keras)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs=None: losses.append(logs["val_loss"]))
    settings = FineTuning(epochs=50, batch_size=8, learning_rate=0.05, validation_share=0.25, patience=3)
    fine_tune(model, TrainingData(INPUTS, labels, CLASSES.loss), settings, callbacks=[note])
    assert len(losses) == int(np.argmin(losses)) + 1 + 3 < 50
    watched = np.random.default_rng(settings.seed).permutation(48)[:12]
    answers = np.asarray(model(INPUTS[watched]))
    again = -np.log(answers[np.arange(12), labels[watched]]).mean()
    assert again == pytest.approx(min(losses), rel=1e-4)


def test_rows_that_are_watched_are_not_trained_on(keras: ModuleType) -> None:
    # The held-back rows alone are not finite: trained on, they would leave nothing finite.
    watched = np.random.default_rng(0).permutation(48)[:12]
    inputs = INPUTS.copy()
    inputs[watched] = np.nan
    model = net(keras)
    data = TrainingData(inputs, LABELS, CLASSES.loss)
    fine_tune(model, data, FineTuning(epochs=1, batch_size=8, validation_share=0.25))
    assert all(np.isfinite(np.array(variable)).all() for variable in model.weights)


def steps_of(keras: ModuleType, monkeypatch: pytest.MonkeyPatch, required_steps: int) -> int:
    """Steps that are trained where every second of the clock is an hour, of a limit of 2.5 of them."""
    hours = iter(range(10_000))
    monkeypatch.setattr(training_watch.time, "monotonic", lambda: 3600.0 * next(hours))
    steps: list[int] = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs=None: steps.append(batch))
    settings = FineTuning(epochs=4, batch_size=8, max_minutes=150.0)
    fine_tune(net(keras), CLASSES, settings, callbacks=[note], required_steps=required_steps)
    return len(steps)


def test_the_time_limit_ends_a_training(keras: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_of(keras, monkeypatch, required_steps=3) == 3


def test_a_schedule_is_not_left_half_way(keras: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CandidateError, match="150 minutes came at step 3 .* before the .* had ended at step 4"):
        steps_of(keras, monkeypatch, required_steps=4)


def test_epochs_before_the_required_steps_are_never_the_best(keras: ModuleType) -> None:
    # The first epoch is by far the best, and yet not the one that is kept.
    labels = np.random.default_rng(1).permutation(LABELS)
    kept: list[np.ndarray] = []
    model = net(keras)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs=None: kept.append(np.array(model.weights[0])))
    settings = FineTuning(epochs=6, batch_size=12, learning_rate=0.05, validation_share=0.25, patience=9)
    data = TrainingData(INPUTS, labels, CLASSES.loss)
    fine_tune(model, data, settings, callbacks=[note], required_steps=15)
    final = np.array(model.weights[0])
    assert next(index for index, weights in enumerate(kept) if (weights == final).all()) in (4, 5)
