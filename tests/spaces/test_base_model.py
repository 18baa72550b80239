"""Every format that a model may come in, and what is said of those that do not load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.spaces.base_model import (
    BaseModel,
    ModelFormat,
    TensorSpec,
    load_keras,
    model_interface,
    non_finite_weights,
    read_model,
    save_keras,
)
from litefront.spaces.batch_size import convert
from litefront.spaces.errors import InputError
from litefront.spaces.model_interface import tflite_interface
from litefront.spaces.quantization import Quantization
from litefront.spaces.tensorflow_environment import import_keras, import_keras3, import_tensorflow
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, make_tflite

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def keras3_classifier() -> Any:
    """The same kind of net by Keras 3, in which users who are not told otherwise write theirs."""
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def sources(
    keras_classifier: BaseModel, float_tflites: dict[int, bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same classifier in every format, and one by Keras 3."""
    folder = tmp_path_factory.mktemp("sources")
    model = load_keras(keras_classifier)
    paths = {name: folder / name for name in ("model.keras", "model.h5", "saved_model", "model.tflite")}
    model.save(paths["model.keras"], save_format="keras")
    model.save(paths["model.h5"], save_format="h5")
    model.export(str(paths["saved_model"]))
    paths["model.tflite"].write_bytes(float_tflites[4])
    for name in ("three.keras", "three.h5"):
        paths[name] = folder / name
        keras3_classifier().save(paths[name])
    return paths


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("model.keras", ModelFormat.KERAS),
        ("model.h5", ModelFormat.KERAS),
        ("saved_model", ModelFormat.SAVED_MODEL),
        ("model.tflite", ModelFormat.TFLITE),
    ],
)
def test_a_model_answers_the_same_in_every_format(
    name: str, format_: ModelFormat, sources: dict[str, Path], kept: Path, keras_classifier: BaseModel, rows: Rows
) -> None:
    model = read_model(sources[name], kept, {})
    assert model.format is format_
    assert model.path.is_relative_to(kept)
    assert non_finite_weights(model) == 0
    expected = np.asarray(load_keras(keras_classifier)(rows[0]))
    np.testing.assert_allclose(run_rows(convert(model, 4), rows[0]), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["three.keras", "three.h5"])
def test_a_model_by_keras_3_stays_one(name: str, sources: dict[str, Path], kept: Path, rows: Rows) -> None:
    model = read_model(sources[name], kept, {})
    assert model.format is ModelFormat.KERAS3
    assert non_finite_weights(model) == 0
    import keras

    loaded = load_keras(model)
    assert isinstance(loaded, keras.Model)
    expected = np.asarray(keras.models.load_model(sources[name], compile=False)(rows[0]))
    np.testing.assert_allclose(np.asarray(loaded(rows[0])), expected, atol=1e-6)
    np.testing.assert_allclose(run_rows(convert(model, 4), rows[0]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "batch"),
    [("model.keras", -1), ("model.h5", -1), ("saved_model", -1), ("three.keras", -1), ("model.tflite", 4)],
)
def test_the_signature_tells_shape_and_type(name: str, batch: int, sources: dict[str, Path], kept: Path) -> None:
    (spec,) = model_interface(read_model(sources[name], kept, {})).inputs
    assert (spec.shape, spec.dtype) == ((batch, 8, 8, 1), "float32")
    assert isinstance(spec, TensorSpec)


def test_the_users_file_is_left_as_it_is(sources: dict[str, Path], kept: Path) -> None:
    before = sources["model.keras"].read_bytes()
    read_model(sources["model.keras"], kept, {})
    assert sources["model.keras"].read_bytes() == before


# ------------------------------------------------------------------------------------------------ refused models


@pytest.mark.parametrize(
    "quantization", [Quantization.DYNAMIC_INT8, Quantization.INT8, Quantization.DYNAMIC_INT4], ids=str
)
def test_a_quantized_tflite_is_nothing_to_start_from(
    quantization: Quantization, candidate_files: dict[tuple[Quantization, int], Path], kept: Path
) -> None:
    with pytest.raises(
        InputError, match="must have float32 or float16 weights to start from, but .* has ..(INT8|INT32|INT4)"
    ):
        read_model(candidate_files[quantization, 1], kept, {})


def test_a_tflite_with_custom_operators_is_refused(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(make_tflite({"x": T(), "y": T()}, [Op("CUSTOM", ("x",), ("y",))]))
    with pytest.raises(InputError, match="LiteRT's own operators, but model.tflite has custom ones"):
        read_model(path, kept, {})


NOISE = np.random.default_rng(0).bytes(4096)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.tflite", b"", "model.tflite does not load: it has not the mark"),
        ("model.tflite", NOISE, "model.tflite does not load: it has not the mark"),
        ("model.tflite", NOISE[:4] + b"TFL3" + NOISE, "model.tflite does not load: "),
        ("model.keras", b"", "model.keras does not load: "),
        ("model.keras", NOISE, "model.keras does not load: "),
        ("model.keras", b"PK\x03\x04" + NOISE, "model.keras does not load: "),
        ("model.h5", NOISE, "model.h5 does not load: "),
        ("model.pb", NOISE, "must be a .keras, .h5 or .tflite file or a SavedModel folder, but got model.pb"),
        ("model", NOISE, "must be a .keras, .h5 or .tflite file or a SavedModel folder, but got model."),
    ],
)
def test_what_is_no_model_is_refused_in_words(
    name: str, content: bytes, words: str, tmp_path: Path, kept: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_model(tmp_path / name, kept, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.tflite"])
def test_a_model_cut_short_is_refused(name: str, sources: dict[str, Path], tmp_path: Path, kept: Path) -> None:
    content = sources[name].read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"The model {name} does not load: "):
        read_model(tmp_path / name, kept, {})


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="The model model does not load: "):
        read_model(tmp_path / "model", kept, {})


def test_a_saved_model_needs_its_serving_signature(tmp_path: Path, kept: Path) -> None:
    tf = import_tensorflow()
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(InputError, match=r"must have the signature `serving_default`, but bare has \[\]"):
        read_model(tmp_path / "bare", kept, {})


@pytest.fixture(scope="module")
def two_signatures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of two signatures: one of two inputs and outputs, and one of a single row without a batch."""
    tf = import_tensorflow()
    module = tf.Module()

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, 2), tf.float32, name="b"), tf.TensorSpec((None,), tf.int32, name="a")]
    )
    def pair(b: Any, a: Any) -> Any:
        return {"sum": tf.reduce_sum(b, 1) + tf.cast(a, tf.float32), "next": a + 1}

    @tf.function(input_signature=[tf.TensorSpec((4,), tf.float32, name="row")])  # type: ignore[untyped-decorator]
    def single(row: Any) -> Any:
        return {"largest": tf.reduce_max(row)}

    path = tmp_path_factory.mktemp("signatures") / "two"
    tf.saved_model.save(module, str(path), signatures={"serving_default": pair, "single": single})
    return path


def test_inputs_and_outputs_go_by_the_names_of_the_signature(two_signatures: Path, kept: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = convert(read_model(two_signatures, kept, {}), 3)
    answers = Interpreter(model_content=content).get_signature_runner()(
        a=np.array([1, 2, 3], np.int32), b=np.array([[1, 1], [2, 2], [3, 3]], np.float32)
    )
    assert {name: answer.tolist() for name, answer in answers.items()} == {"sum": [3, 6, 9], "next": [2, 3, 4]}


def test_another_signature_is_taken_by_its_name_and_without_a_batch(two_signatures: Path, kept: Path) -> None:
    model = read_model(two_signatures, kept, {}, "single")
    interface = model_interface(model)
    assert [spec.name for spec in interface.inputs + interface.outputs] == ["row", "largest"]
    assert interface.inputs[0].takes_whole((4,)) and not interface.inputs[0].takes((4,))
    content = convert(model, 1, {"": (4,)})
    assert tflite_interface(content).inputs[0].shape == (4,)
    with pytest.raises(
        InputError, match=r"must have the signature `third`, but two has \['serving_default', 'single'\]"
    ):
        read_model(two_signatures, kept, {}, "third")


def test_the_rows_settle_a_free_sequence_length(tmp_path: Path) -> None:
    keras = import_keras()
    layers = [keras.layers.Input((None, 3)), keras.layers.Conv1D(2, 3), keras.layers.GlobalMaxPooling1D()]
    model = save_keras(keras.Sequential(layers), tmp_path)
    assert model_interface(model).inputs[0].shape == (-1, -1, 3)
    content = convert(model, 2, {"": (5, 3)})
    assert tflite_interface(content).inputs[0].shape == (2, 5, 3)
    sequences = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(run_rows(content, sequences), np.asarray(load_keras(model)(sequences)), atol=1e-5)


def test_a_model_that_is_not_there_is_told(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(InputError, match=r"but there is nothing at .*nowhere\.keras"):
        read_model(tmp_path / "nowhere.keras", kept, {})


@pytest.mark.parametrize("model", [None, "model.keras", 7])
def test_only_a_keras_model_is_kept(model: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must give a Keras model .* but it gave"):
        save_keras(model, tmp_path)


def test_a_keras_3_model_given_by_code_is_kept_as_one(tmp_path: Path, rows: Rows) -> None:
    model = keras3_classifier()
    kept = save_keras(model, tmp_path)
    assert kept.format is ModelFormat.KERAS3
    np.testing.assert_array_equal(np.asarray(load_keras(kept)(rows[0])), np.asarray(model(rows[0])))


# -------------------------------------------------------------------------------------------- custom objects, NaN


@pytest.mark.parametrize("load", [import_keras, import_keras3])
def test_a_layer_of_ones_own_is_read_with_its_class_and_refused_without(
    load: Callable[[], Any], tmp_path: Path, kept: Path
) -> None:
    keras = load()

    class Twice(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    path = tmp_path / "model.keras"
    keras.Sequential([keras.layers.Input((2,)), Twice()]).save(path)
    with pytest.raises(InputError, match="model.keras does not load: .*Twice"):
        read_model(path, kept, {})
    model = read_model(path, kept, {"Twice": Twice})
    again = BaseModel(model.path, model.format, {"Twice": Twice})
    np.testing.assert_array_equal(np.asarray(load_keras(again)(np.ones((1, 2), np.float32))), [[2, 2]])
    assert run_rows(convert(again, 1), np.ones((1, 2), np.float32)).tolist() == [[2, 2]]


def with_bad_weights(model: Any) -> Any:
    """The model with one NaN and two infinite weights in its last kernel."""
    *rest, kernel, bias = model.get_weights()
    kernel = kernel.copy()
    kernel.flat[:3] = [np.nan, np.inf, -np.inf]
    model.set_weights([*rest, kernel, bias])
    return model


def test_non_finite_weights_of_a_keras_model_are_counted(keras_classifier: BaseModel, tmp_path: Path) -> None:
    assert non_finite_weights(keras_classifier) == 0
    assert non_finite_weights(save_keras(with_bad_weights(load_keras(keras_classifier)), tmp_path)) == 3


def test_non_finite_weights_of_a_tflite_are_counted(tmp_path: Path) -> None:
    weights = np.array([[np.nan, 1], [-np.inf, 0]], "<f4").tobytes()
    tensors = {"x": T(), "w": T("FLOAT32", (2, 2), weights), "y": T()}
    path = tmp_path / "model.tflite"
    path.write_bytes(make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))]))
    assert non_finite_weights(BaseModel(path, ModelFormat.TFLITE, {})) == 2


def test_non_finite_weights_of_a_saved_model_are_counted(
    keras_classifier: BaseModel, tmp_path: Path, kept: Path
) -> None:
    with_bad_weights(load_keras(keras_classifier)).export(str(tmp_path / "bad"))
    assert non_finite_weights(read_model(tmp_path / "bad", kept, {})) == 3


def saved_line(slope: tuple[float, float], folder: Path) -> Path:
    """A SavedModel without Keras: a sum of two inputs, each times its slope."""
    tf = import_tensorflow()

    class Line(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.slope = tf.Variable([[slope[0]], [slope[1]]])

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return x @ self.slope

    line = Line()
    tf.saved_model.save(line, str(folder / "line"), signatures=line.__call__.get_concrete_function())
    return folder / "line"


def test_a_saved_model_without_keras_is_read_and_converted(tmp_path: Path, kept: Path) -> None:
    model = read_model(saved_line((2.0, 3.0), tmp_path), kept, {})
    assert model_interface(model).inputs == (TensorSpec("x", (-1, 2), "float32"),)
    answers = run_rows(convert(model, 3), np.array([[1, 0], [1, 1], [0, 2], [4, 0]], np.float32))
    assert answers[:, 0].tolist() == [2.0, 5.0, 6.0, 8.0]


@pytest.mark.parametrize(("slope", "bad"), [((2.0, 3.0), 0), ((2.0, np.nan), 1), ((np.inf, np.nan), 2)])
def test_non_finite_weights_of_a_saved_model_without_keras_are_counted(
    slope: tuple[float, float], bad: int, tmp_path: Path, kept: Path
) -> None:
    assert non_finite_weights(read_model(saved_line(slope, tmp_path), kept, {})) == bad
