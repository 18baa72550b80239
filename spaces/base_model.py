"""The trained model that a study starts from, in whichever of the formats it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litefront.spaces.errors import InputError
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BaseModel",
    "ModelFormat",
    "TensorSpec",
    "load_keras",
    "model_signature",
    "non_finite_weights",
    "read_model",
    "save_keras",
    "serving_function",
]


class ModelFormat(StrEnum):
    """How the weights are kept between stages; it decides what can be done to them."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and type of a model's input or output; the first dimension is the batch, -1 if it is free."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class BaseModel:
    """A model as it lies in a folder or file.

    Attributes:
        path: The `.keras` file, SavedModel folder or `.tflite` file.
        format: Which of these it is.
        custom_objects: The user's own Keras layers and functions, by name.
    """

    path: Path
    format: ModelFormat
    custom_objects: Mapping[str, Any]

    def pruning_refusal(self) -> str | None:
        """Why the weights cannot be pruned, or None if they can."""
        if self.format is ModelFormat.TFLITE:
            return "sparsity other than 0 needs a Keras model to fine-tune, and this model came as a `.tflite`"
        if self.format is ModelFormat.SAVED_MODEL:
            return (
                "sparsity other than 0 needs a tf_keras model, and this one is a SavedModel or was saved by Keras 3, "
                "which tensorflow-model-optimization cannot prune"
            )
        return None


def save_keras(model: Any, folder: Path) -> BaseModel:
    """Keeps a tf_keras model as a file in `folder`, without its optimizer.

    Raises:
        InputError: If it is not a tf_keras model.
    """
    keras = import_keras()
    if not isinstance(model, keras.Model):
        raise InputError(
            f"The task's `model` must give a tf_keras model (or the path of a model), but it gave {type(model)!r}."
        )
    path = folder / "model.keras"
    model.save(path, save_format="keras")
    return BaseModel(path, ModelFormat.KERAS, {})


def load_keras(model: BaseModel) -> Any:
    """Gives the tf_keras model that `save_keras` kept."""
    return import_keras().models.load_model(model.path, custom_objects=dict(model.custom_objects), compile=False)


def read_model(source: Path, folder: Path, custom_objects: Mapping[str, Any]) -> BaseModel:
    """Reads a user's model file and keeps it in `folder` in one of the formats that later stages take.

    Args:
        source: A `.keras` or `.h5` file, a SavedModel folder, or a float `.tflite`.
        folder: Where to keep it.
        custom_objects: The user's own Keras layers and functions, by name.

    Raises:
        InputError: If it cannot be read, with the reader's own words.
    """
    if not source.exists():
        raise InputError(f"The model must be a file or a SavedModel folder, but there is nothing at {source}.")
    try:
        if source.suffix == ".tflite":
            return _read_tflite(source, folder)
        if source.is_dir():
            return _read_saved_model(source, folder)
        if source.suffix in (".keras", ".h5", ".hdf5"):
            return _read_keras(source, folder, custom_objects)
    except InputError:
        raise
    except Exception as error:
        # Whatever the readers raise here comes from the bytes of the user's file.
        raise InputError(f"The model {source.name} does not load: {_first_lines(error)}") from error
    raise InputError(f"The model must be a .keras, .h5 or .tflite file or a SavedModel folder, but got {source.name}.")


def _read_keras(source: Path, folder: Path, custom_objects: Mapping[str, Any]) -> BaseModel:
    keras = import_keras()
    try:
        model = keras.models.load_model(source, custom_objects=dict(custom_objects), compile=False)
    except Exception as legacy_error:
        # Saved by Keras 3: it can be converted and quantized, by way of a SavedModel.
        import keras as keras3

        try:
            model = keras3.models.load_model(source, custom_objects=dict(custom_objects), compile=False)
        except Exception:
            raise legacy_error from None
        model.export(folder / "saved_model", format="tf_saved_model", verbose=False)
        return BaseModel(folder / "saved_model", ModelFormat.SAVED_MODEL, {})
    return save_keras(model, folder)


def _read_saved_model(source: Path, folder: Path) -> BaseModel:
    import shutil

    tf = import_tensorflow()
    signatures = tf.saved_model.load(str(source)).signatures
    if "serving_default" not in signatures:
        raise InputError(
            f"A SavedModel must have the signature `serving_default`, but {source.name} has {sorted(signatures)}."
        )
    shutil.copytree(source, folder / "saved_model")
    return BaseModel(folder / "saved_model", ModelFormat.SAVED_MODEL, {})


def _read_tflite(source: Path, folder: Path) -> BaseModel:
    from litefront.spaces.tflite_graph import TfliteGraph

    content = source.read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(f"The model {source.name} does not load: it has not the mark of a `.tflite` file.")
    graph = TfliteGraph(content)
    if graph.has_custom_ops:
        raise InputError(f"The model must use LiteRT's own operators, but {source.name} has custom ones.")
    if quantized := graph.weight_types - {"FLOAT32"}:
        raise InputError(
            f"A `.tflite` model must have float32 weights to start from, but {source.name} has {sorted(quantized)}."
        )
    (folder / "model.tflite").write_bytes(content)
    return BaseModel(folder / "model.tflite", ModelFormat.TFLITE, {})


def serving_function(model: BaseModel) -> tuple[Callable[..., Any], list[TensorSpec], Any]:
    """Gives what TensorFlow calls to run the model, its inputs, and the object that owns its variables.

    The object must stay alive until the conversion is over.
    """
    if model.format is ModelFormat.KERAS:
        keras_model = load_keras(model)
        inputs = [_spec(tensor) for tensor in keras_model.inputs]
        single = len(inputs) == 1
        return (
            lambda *tensors: keras_model(tensors[0] if single else list(tensors), training=False),
            inputs,
            keras_model,
        )
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(model.path))
    signature = loaded.signatures["serving_default"]
    inputs = [_spec(tensor, name) for name, tensor in signature.structured_input_signature[1].items()]
    names = [spec.name for spec in inputs]
    return lambda *tensors: signature(**dict(zip(names, tensors, strict=True))), inputs, loaded


def _spec(tensor: Any, name: str | None = None) -> TensorSpec:
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    # Keras names may hold a scope and an output index, which a signature must not.
    return TensorSpec(name or tensor.name.split("/")[-1].split(":")[0], shape, tensor.dtype.name)


def model_signature(model: BaseModel) -> list[TensorSpec]:
    """The model's inputs."""
    if model.format is ModelFormat.TFLITE:
        from litefront.spaces.tflite_graph import TfliteGraph

        graph = TfliteGraph(model.path.read_bytes())
        return [TensorSpec(tensor.name, tensor.shape_signature, tensor.type.lower()) for tensor in graph.inputs]
    return serving_function(model)[1]


def non_finite_weights(model: BaseModel) -> int:
    """Number of NaN or infinite values among the model's weights."""
    import numpy as np

    if model.format is ModelFormat.TFLITE:
        from litefront.spaces.tflite_graph import TfliteGraph

        constants = TfliteGraph(model.path.read_bytes()).constants
        arrays: list[np.ndarray] = [np.frombuffer(c.data, "<f4") for c in constants if c.type == "FLOAT32"]
    else:
        *_, owner = serving_function(model)
        # A SavedModel that Keras did not write lists its variables at its signature only.
        holder = owner if model.format is ModelFormat.KERAS else owner.signatures["serving_default"]
        arrays = [np.asarray(variable) for variable in holder.variables]
    return sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays if array.dtype.kind == "f")


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
