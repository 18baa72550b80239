"""Quantization-aware training: a model is trained further with int8 in view, and becomes a static int8 `.tflite`.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv 1712.05877, as `tensorflow-model-optimization` has it: weights and activations are rounded in the forward pass,
and the ranges of activations follow the training rows by a moving average, so no representative data set is needed.

The toolkit takes tf_keras models, and of them the layers of its registry. The others stay in float and are named before
anything is trained. Where such a layer feeds a dense layer or a convolution its output is rounded all the same: without
a range for its input the converter would leave that dense layer in float32, which the training never saw.

Zeros and clusters are held while training by `SharedValues`, after each step. The toolkit's own schemes for that
(`tfmot.experimental.combine`) take convolutions and dense layers only, fail on a model with any other weights, and the
one for clusters stops keeping zeros at the first layer that has none.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.errors import CandidateError
from litefront.spaces.rows import Rows, row_count, take_rows
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow, seed_everything
from litefront.spaces.tflite.graph import TensorFacts, TfliteGraph
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune, keras_of
from litefront.spaces.training.quantizable_layers import float_layers, plan_layers
from litefront.spaces.training.shared_values import SharedValues

__all__ = [
    "Preserve",
    "convert_quantization_aware",
    "float_layers",
    "quantization_aware",
    "quantization_aware_refusal",
    "save_quantization_aware",
]

Preserve = Literal["sparsity", "clusters"]
"""What the weights have from before that must last: their zeros, or their zeros and equal values."""


def quantization_aware_refusal(model: Any) -> str | None:
    """Why a model cannot be trained so, or None if it can; `float_layers` names what stays in float then."""
    keras = import_keras()
    if keras_of(model) is not keras:
        return "quantization-aware training needs a tf_keras model: its toolkit does not take those of Keras 3"
    if not isinstance(model, keras.Sequential) and not getattr(model, "_is_graph_network", False):
        return "quantization-aware training needs a Sequential or functional model, whose graph can be followed"
    if any(_has_weights(model.get_layer(name)) for name in plan_layers(model).quantized):
        return None
    reasons = "; ".join(f"{name}: {reason}" for name, reason in float_layers(model).items())
    return f"no layer of the model with weights can be trained with quantization in view ({reasons[:300]})"


def quantization_aware(
    model: Any,
    data: TrainingData,
    fine_tuning: FineTuning,
    *,
    teacher: Any = None,
    preserve: Preserve | None = None,
) -> Any:
    """Trains a model further with int8 weights and activations in view.

    Args:
        model: The trained, perhaps pruned or clustered, tf_keras model; it stays as it is.
        data: What it is trained on.
        fine_tuning: How to train.
        teacher: The float model, for distillation.
        preserve: What of its weights must last.

    Returns:
        The trained model with the toolkit's wrappers: `save_quantization_aware` keeps it.

    Raises:
        CandidateError: If nothing of it can be trained so, or the toolkit fails on it.
    """
    if refusal := quantization_aware_refusal(model):
        raise CandidateError(refusal)
    seed_everything(fine_tuning.seed)
    wrapped = _wrap(model)
    _find_ranges(wrapped, data.inputs, fine_tuning.batch_size)
    callbacks = []
    if preserve is not None:
        held = SharedValues(list(_kernels(wrapped).values()), zeros_only=preserve == "sparsity")
        callbacks.append(held.callback(import_keras()))
    fine_tune(wrapped, data, fine_tuning, teacher=teacher, callbacks=callbacks)
    return wrapped


def _wrap(model: Any) -> Any:
    keras = import_keras()
    from tensorflow_model_optimization.python.core.quantization.keras import quantize
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_configs

    plan = plan_layers(model)
    output_only = default_8bit_quantize_configs.Default8BitOutputQuantizeConfig

    def annotate(layer: Any) -> Any:
        if layer.name in plan.quantized:
            return quantize.quantize_annotate_layer(layer)
        if layer.name in plan.rounded_outputs:
            return quantize.quantize_annotate_layer(layer, output_only())
        return layer

    try:
        with _scope():
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            wrapped = quantize.quantize_apply(keras.models.clone_model(copy, clone_function=annotate))
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CandidateError(f"the quantization-aware training toolkit cannot take the model: {reason}") from error
    _freeze(wrapped)
    return wrapped


def _find_ranges(wrapped: Any, inputs: Rows, batch_size: int) -> None:
    """Starts each range at what a moving average would come to: the mean of the batches' extremes.

    The toolkit starts them at -6 and 6 and moves them by a thousandth of the difference a step, so that after the few
    steps of a fine-tuning they would say next to nothing about the values.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    seen: dict[int, list[tuple[float, float]]] = {}
    variables: dict[int, tuple[Any, Any]] = {}

    def note(values: Any, low: Any, high: Any, per_channel: bool, **_options: Any) -> Any:
        if not per_channel:
            numbers = np.asarray(values)
            variables[id(low)] = (low, high)
            seen.setdefault(id(low), []).append((min(float(numbers.min()), 0.0), max(float(numbers.max()), 0.0)))
        return values

    rows = np.arange(min(row_count(inputs), _MOST_CALIBRATION_ROWS))
    # The one function through which all rounding goes; unrounded, each layer sees what it sees in float.
    with mock.patch.object(quant_ops, "_FakeQuantWithMinMaxVars", note):
        for start in range(0, len(rows), batch_size):
            wrapped(take_rows(inputs, rows[start : start + batch_size]), training=False)
    for key, extremes in seen.items():
        low, high = np.mean(extremes, axis=0)
        if low < high:  # values that are all zero have no range to find
            for variable, value in zip(variables[key], (low, high), strict=True):
                variable.assign(np.full(variable.shape, value))


_MOST_CALIBRATION_ROWS = 512


def _scope() -> Any:
    import_tensorflow()
    from tensorflow_model_optimization.python.core.quantization.keras import quantize
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_configs

    output_only = default_8bit_quantize_configs.Default8BitOutputQuantizeConfig
    return quantize.quantize_scope({output_only.__name__: output_only})


def _freeze(wrapped: Any) -> None:
    """Keeps frozen layers frozen: the toolkit's wrapper lists the kernel it rounds among what is trained."""
    for layer in wrapped.layers:
        if hasattr(layer, "quantize_config") and not layer.layer.trainable:
            layer._non_trainable_weights.extend(layer._trainable_weights)
            layer._trainable_weights.clear()


def _kernels(wrapped: Any) -> dict[str, Any]:
    """The weights that are rounded, by the name of their layer, but for depthwise ones, which nothing prunes."""
    return {
        layer.layer.name: variable
        for layer in wrapped.layers
        if hasattr(layer, "quantize_config")
        for variable, _, _ in layer._weight_vars
        if "depthwise" not in variable.name
    }


def _has_weights(layer: Any) -> bool:
    return any("kernel" in variable.name for variable in layer.weights)


def save_quantization_aware(model: Any, folder: Path) -> Path:
    """Keeps a model that was trained so as a file in `folder`.

    It is an `.h5`: the newer `.keras` format does not load again what the toolkit's wrappers hold.
    """
    path = folder / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the format is the older one
        model.save(path, include_optimizer=False)
    return path


def convert_quantization_aware(
    model_file: Path, batch_size: int, *, preserve: Preserve | None = None, custom_objects: dict[str, Any] | None = None
) -> bytes:
    """Makes the static int8 `.tflite` of a model that was trained so; its inputs and outputs stay float32.

    Args:
        model_file: What `save_quantization_aware` kept.
        batch_size: Rows a call.
        preserve: What of the weights must have lasted; it is counted in the file.
        custom_objects: The user's own Keras layers and functions, by name.

    Returns:
        The `.tflite`.

    Raises:
        CandidateError: If TensorFlow cannot convert it, or zeros or clusters were lost.
    """
    tf, keras = import_tensorflow(), import_keras()
    seed_everything(0)  # a random operator without a seed has the converter leave out the signature
    with _scope():
        model = keras.models.load_model(model_file, custom_objects=custom_objects, compile=False)
    specs = [
        tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype, name=tensor.name.split("/")[-1].split(":")[0])
        for tensor in model.inputs
    ]
    try:
        function = tf.function(
            lambda *tensors: model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        )
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)], model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = bytes(converter.convert())
    except Exception as error:
        # The converter raises whatever its many layers raise; its words are the reason that a user can act on.
        raise CandidateError(f"TensorFlow could not convert the model: {' '.join(str(error).split())[:400]}") from error
    if preserve is not None:
        _check_preserved(content, [np.asarray(kernel) for kernel in _kernels(model).values()], preserve)
    return content


def _check_preserved(content: bytes, trained: list[NDArray[Any]], preserve: Preserve) -> None:
    """Compares file and model kernel by kernel, by their sizes: operators have other names than layers."""
    operators = [op for op in TfliteGraph(content).operators if op.name != "DEPTHWISE_CONV_2D"]
    stored = [kernel for op in operators if (kernel := op.kernel()) is not None]
    wanted = Counter(kernel.size for kernel in trained)
    if wanted - Counter(kernel.elements for kernel in stored):
        raise CandidateError("kernels of the trained model are not in its `.tflite`, so what they kept is not known")
    of_trained = [kernel for kernel in stored if kernel.elements in wanted]
    zeros, kept = sum(int(np.count_nonzero(k == 0)) for k in trained), sum(kernel.zeros() for kernel in of_trained)
    if kept < zeros:
        raise CandidateError(f"the trained model's kernels have {zeros} zeros, but its `.tflite` has only {kept}")
    if preserve == "clusters":
        most = max((int(np.unique(kernel).size) for kernel in trained), default=0)
        if (found := max(map(_most_values, of_trained), default=0)) > most:
            raise CandidateError(f"the trained kernels have at most {most} values, but those in the file {found}")


def _most_values(kernel: TensorFacts) -> int:
    """Distinct stored values of the output that has most: each output has a scale of its own."""
    outputs = np.frombuffer(kernel.data, kernel.dtype).reshape(kernel.shape[0], -1)
    return max(int(np.unique(output).size) for output in outputs)
