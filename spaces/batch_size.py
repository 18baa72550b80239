"""Batch size: rows a call takes, and the conversion that makes the batch a constant of the graph.

With a free batch Keras models keep chains of SHAPE, PACK and RESHAPE: the GPU delegate refuses such a graph, and
XNNPACK takes it only in parts. So each batch size is a conversion of its own, from a function of fixed shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litefront.spaces.base_model import BaseModel, ModelFormat, serving
from litefront.spaces.dimension import Capabilities, Dimension, checked_whole_number
from litefront.spaces.errors import CandidateError
from litefront.spaces.model_interface import tflite_interface
from litefront.spaces.tensorflow_environment import import_tensorflow, seed_everything

__all__ = ["BATCH_SIZE", "convert"]


def convert(model: BaseModel, batch_size: int, row_shapes: Mapping[str, Sequence[int]] | None = None) -> bytes:
    """Converts a model into a float32 `.tflite` whose every call takes `batch_size` rows.

    Its signature has the names of the model's inputs and outputs.

    Args:
        model: The trained, perhaps pruned, model.
        batch_size: Rows a call.
        row_shapes: The shape of a row of each input, which settles sizes that the model leaves free (such as a
            sequence's length) and says which inputs have no batch dimension; that of a model's only input may have an
            empty name. None: every input has one, and free sizes stay free.

    Returns:
        The `.tflite`. One that came as such has its shapes written anew.

    Raises:
        CandidateError: If TensorFlow cannot convert it.
    """
    # The schema of `.tflite` files takes 0.1 s to import, which a command that converts nothing does not pay.
    from litefront.spaces.tflite.batch import with_batch
    from litefront.spaces.tflite.file import rename_signature, stateful_operators

    if model.format is ModelFormat.TFLITE:
        content = model.path.read_bytes()
        return with_batch(content, tflite_interface(content).call_shapes(row_shapes, batch_size))
    tf = import_tensorflow()
    # A random operator, such as Dropout's, must have a seed where operators are deterministic: without one, the
    # converter silently leaves the signature out, which calibration needs.
    seed_everything(0)
    serves = serving(model)
    shapes = serves.interface.call_shapes(row_shapes, batch_size)
    # The converter takes no name that is no identifier, and goes by their order: the true ones are given afterwards.
    inputs = {f"input_{number:04}": spec for number, spec in enumerate(serves.interface.inputs)}
    outputs = {f"output_{number:04}": spec.name for number, spec in enumerate(serves.interface.outputs)}
    specs = [
        tf.TensorSpec([None if size < 0 else size for size in shapes[spec.name]], spec.dtype, name=name)
        for name, spec in inputs.items()
    ]

    def numbered(*tensors: Any) -> dict[str, Any]:
        answers = serves.call(*tensors)
        return {number: answers[name] for number, name in outputs.items()}

    try:
        concrete = tf.function(numbered).get_concrete_function(*specs)
        content = bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], serves.owner).convert())
    except Exception as error:
        # The converter raises whatever its many layers raise; its words are the reason that a user can act on.
        raise CandidateError(f"TensorFlow could not convert the model: {' '.join(str(error).split())[:400]}") from error
    if stateful := stateful_operators(content):
        raise CandidateError(f"the model keeps state from call to call: {', '.join(stateful)}")
    return rename_signature(content, {number: spec.name for number, spec in inputs.items()} | outputs)


def _parse(value: object) -> int:
    return checked_whole_number(value, name="batch_size", low=1)


def _refusal(batch_size: int, capabilities: Capabilities) -> str | None:
    fixed = capabilities.fixed_batch_size
    if fixed is None or batch_size == fixed:
        return None
    reason = capabilities.fixed_batch_reason or f"the model's file is made for batches of {fixed} only"
    return f"batch {batch_size}: {reason}"


BATCH_SIZE = Dimension("batch_size", default=1, parse=_parse, refusal=_refusal)
