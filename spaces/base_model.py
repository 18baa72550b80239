"""The trained model that a study starts from, in whichever of the formats it came."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from litefront.spaces.errors import InputError
from litefront.spaces.model_interface import ModelInterface, TensorSpec, tflite_interface
from litefront.spaces.tensorflow_environment import import_keras, import_keras3, import_tensorflow

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "SERVING_DEFAULT",
    "BaseModel",
    "ModelFormat",
    "Serving",
    "load_keras",
    "model_interface",
    "non_finite_weights",
    "read_model",
    "save_keras",
    "serving",
]

SERVING_DEFAULT = "serving_default"


class ModelFormat(StrEnum):
    """How the weights are kept between stages; it decides what can be done to them."""

    KERAS = "keras"
    """A model of tf_keras."""
    KERAS3 = "keras3"
    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"

    @property
    def is_keras(self) -> bool:
        """Whether it can be loaded as a Keras model, of whichever Keras, and trained further."""
        return self in (ModelFormat.KERAS, ModelFormat.KERAS3)


@dataclass(frozen=True)
class BaseModel:
    """A model as it lies in a folder or file.

    Attributes:
        path: The `.keras` file, SavedModel folder or `.tflite` file.
        format: Which of these it is.
        custom_objects: The user's own Keras layers and functions, by name.
        signature: The signature of a SavedModel that is meant.
    """

    path: Path
    format: ModelFormat
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    signature: str = SERVING_DEFAULT


def save_keras(model: Any, folder: Path) -> BaseModel:
    """Keeps a Keras model as a file in `folder`.

    Args:
        model: A model of tf_keras or of Keras 3.
        folder: Where to keep it.

    Raises:
        InputError: If it is neither.
    """
    path = folder / "model.keras"
    if isinstance(model, import_keras().Model):
        model.save(path, save_format="keras")
        return BaseModel(path, ModelFormat.KERAS)
    # Whoever made a model of Keras 3 has imported it.
    keras3 = sys.modules.get("keras")
    if keras3 is None or not isinstance(model, keras3.Model):
        raise InputError(
            f"The task's `model` must give a Keras model (or the path of a model), but it gave {type(model)!r}."
        )
    model.save(path)
    return BaseModel(path, ModelFormat.KERAS3)


def load_keras(model: BaseModel) -> Any:
    """Gives the model that `save_keras` kept, of the Keras that it is of."""
    keras = import_keras3() if model.format is ModelFormat.KERAS3 else import_keras()
    return keras.models.load_model(model.path, custom_objects=dict(model.custom_objects), compile=False)


def read_model(
    source: Path, folder: Path, custom_objects: Mapping[str, Any], signature: str = SERVING_DEFAULT
) -> BaseModel:
    """Reads a user's model file and keeps it in `folder` in one of the formats that later stages take.

    Args:
        source: A `.keras` or `.h5` file of tf_keras or Keras 3, a SavedModel folder, or a float `.tflite`.
        folder: Where to keep it.
        custom_objects: The user's own Keras layers and functions, by name.
        signature: The signature that is meant, of a SavedModel or `.tflite`.

    Raises:
        InputError: If it cannot be read, with the reader's own words.
    """
    if not source.exists():
        raise InputError(f"The model must be a file or a SavedModel folder, but there is nothing at {source}.")
    try:
        if source.suffix == ".tflite":
            return _read_tflite(source, folder, signature)
        if source.is_dir():
            return _read_saved_model(source, folder, signature)
        if source.suffix in (".keras", ".h5", ".hdf5"):
            return _read_keras(source, folder, custom_objects)
    except InputError:
        raise
    except Exception as error:
        # Whatever the readers raise here comes from the bytes of the user's file.
        raise InputError(f"The model {source.name} does not load: {_first_lines(error)}") from error
    raise InputError(f"The model must be a .keras, .h5 or .tflite file or a SavedModel folder, but got {source.name}.")


def _read_keras(source: Path, folder: Path, custom_objects: Mapping[str, Any]) -> BaseModel:
    """Reads it by the Keras that wrote it, as far as it says which; if that cannot, by the other one."""
    kerases: list[Callable[[], ModuleType]] = [import_keras, import_keras3]
    if _is_by_keras3(source):
        kerases.reverse()
    errors: list[Exception] = []
    for load in kerases:
        try:
            model = load().models.load_model(source, custom_objects=dict(custom_objects), compile=False)
        except Exception as error:
            errors.append(error)
        else:
            return save_keras(model, folder)
    raise errors[0]


def _is_by_keras3(source: Path) -> bool:
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return bool(json.loads(archive.read("metadata.json"))["keras_version"].startswith("3"))
    import h5py  # type: ignore[import-untyped]

    with h5py.File(source, "r") as file:
        return str(file.attrs.get("keras_version", "2")).startswith("3")


def _read_saved_model(source: Path, folder: Path, signature: str) -> BaseModel:
    import shutil

    tf = import_tensorflow()
    signatures = tf.saved_model.load(str(source)).signatures
    if signature not in signatures:
        raise InputError(
            f"A SavedModel must have the signature `{signature}`, but {source.name} has {sorted(signatures)}."
        )
    shutil.copytree(source, folder / "saved_model")
    return BaseModel(folder / "saved_model", ModelFormat.SAVED_MODEL, signature=signature)


def _read_tflite(source: Path, folder: Path, signature: str) -> BaseModel:
    from litefront.spaces.tflite.intake import take_in

    path = folder / "model.tflite"
    path.write_bytes(take_in(source.read_bytes(), source.name, signature))
    return BaseModel(path, ModelFormat.TFLITE)


@dataclass(frozen=True)
class Serving:
    """How TensorFlow runs a model.

    Attributes:
        call: Gives the outputs by name, of the inputs in the interface's order.
        interface: Names, shapes and types of both.
        owner: Owns the model's variables; must stay alive until a conversion is over.
    """

    call: Callable[..., dict[str, Any]]
    interface: ModelInterface
    owner: Any


def serving(model: BaseModel) -> Serving:
    """Gives what TensorFlow calls to run a Keras model or SavedModel.

    Raises:
        InputError: If a Keras model does not say what it takes.
    """
    return _serving_keras(load_keras(model)) if model.format.is_keras else _serving_saved_model(model)


def _serving_keras(model: Any) -> Serving:
    tf = import_tensorflow()
    if not getattr(model, "inputs", None):
        raise InputError("A Keras model must say what it takes, as a functional or sequential one does.")
    input_names, output_names = _names(model, "input"), _names(model, "output")
    is_dict = isinstance(getattr(model, "input", None), dict)

    def call(*tensors: Any) -> dict[str, Any]:
        taken = dict(zip(input_names, tensors, strict=True)) if is_dict else list(tensors)
        answers = model(taken if is_dict or len(tensors) > 1 else tensors[0], training=False)
        return dict(zip(output_names, tf.nest.flatten(answers), strict=True))

    interface = ModelInterface(
        tuple(_spec(name, tensor) for name, tensor in zip(input_names, model.inputs, strict=True)),
        tuple(_spec(name, tensor) for name, tensor in zip(output_names, model.outputs, strict=True)),
    )
    return Serving(call, interface, _owner(model))


def _owner(model: Any) -> Any:
    """What TensorFlow finds a Keras model's variables at.

    It does not follow a model of Keras 3 to them: it would convert it, silently, with weights that have no values.
    """
    if isinstance(model, import_keras().Model):
        return model
    owner = import_tensorflow().Module()
    owner.weights = [variable.value for variable in model.variables]
    return owner


def _names(model: Any, which: str) -> list[str]:
    """The names of a Keras model's inputs or outputs: those by which it has them itself, or of their layers."""
    # A sequential model of Keras 3 that was never called raises where others have none.
    if isinstance(structure := getattr(model, which, None), dict):
        return sorted(structure)
    if names := getattr(model, f"{which}_names", None):
        return list(names)
    if which == "input":
        return [tensor.name for tensor in model.inputs]
    return [model.layers[-1].name]


def _serving_saved_model(model: BaseModel) -> Serving:
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(model.path))
    signature = loaded.signatures[model.signature]
    taken, given = signature.structured_input_signature[1], signature.structured_outputs

    def call(*tensors: Any) -> dict[str, Any]:
        return dict(signature(**dict(zip(taken, tensors, strict=True))))

    interface = ModelInterface(
        tuple(_spec(name, tensor) for name, tensor in taken.items()),
        tuple(_spec(name, tensor) for name, tensor in given.items()),
    )
    return Serving(call, interface, loaded)


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    return TensorSpec(name, shape, getattr(tensor.dtype, "name", tensor.dtype))


def model_interface(model: BaseModel) -> ModelInterface:
    """What the model takes and gives.

    Raises:
        InputError: If a Keras model does not say what it takes.
    """
    if model.format is ModelFormat.TFLITE:
        return tflite_interface(model.path.read_bytes())
    return serving(model).interface


def non_finite_weights(model: BaseModel) -> int:
    """Number of NaN or infinite values among the model's weights."""
    import numpy as np

    if model.format is ModelFormat.TFLITE:
        from litefront.spaces.tflite.graph import TfliteGraph

        constants = TfliteGraph(model.path.read_bytes()).constants
        arrays: list[np.ndarray] = [np.frombuffer(c.data, "<f4") for c in constants if c.type == "FLOAT32"]
    else:
        # A SavedModel that Keras did not write lists its variables at its signature only.
        owner = load_keras(model) if model.format.is_keras else serving(model).owner
        holder = owner if model.format.is_keras else owner.signatures[model.signature]
        arrays = [np.asarray(variable) for variable in holder.variables]
    return sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays if array.dtype.kind == "f")


def _first_lines(error: Exception) -> str:
    # Keras 3 puts all that it could not make anew before the reason.
    reason = str(error).rpartition("Exception encountered: ")[2]
    return " ".join(reason.split())[:300] or type(error).__name__
