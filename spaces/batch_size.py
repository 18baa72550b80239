"""Batch size: rows a call takes, and the conversion that makes the batch a constant of the graph.

With a free batch Keras models keep chains of SHAPE, PACK and RESHAPE: the GPU delegate refuses such a graph, and
XNNPACK takes it only in parts. So each batch size is a conversion of its own, from a function of fixed shapes.
"""

from __future__ import annotations

from litefront.spaces.base_model import BaseModel, ModelFormat, serving_function
from litefront.spaces.dimension import Capabilities, Dimension, checked_whole_number
from litefront.spaces.errors import CandidateError
from litefront.spaces.tensorflow_environment import import_tensorflow, seed_everything

__all__ = ["BATCH_SIZE", "convert"]


def convert(model: BaseModel, batch_size: int) -> bytes:
    """Converts a model into a float32 `.tflite` whose every call takes `batch_size` rows.

    Args:
        model: The trained, perhaps pruned, model.
        batch_size: Rows a call.

    Returns:
        The `.tflite`. A model that came as one is given back as it is: its batch is fixed.

    Raises:
        CandidateError: If TensorFlow cannot convert it.
    """
    if model.format is ModelFormat.TFLITE:
        return model.path.read_bytes()
    tf = import_tensorflow()
    # A random operator, such as Dropout's, must have a seed where operators are deterministic: without one, the
    # converter silently leaves the signature out, which calibration needs.
    seed_everything(0)
    function, inputs, owner = serving_function(model)
    specs = [tf.TensorSpec((batch_size, *spec.shape[1:]), spec.dtype, name=spec.name) for spec in inputs]
    try:
        concrete = tf.function(function).get_concrete_function(*specs)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], owner)
        return bytes(converter.convert())
    except Exception as error:
        # The converter raises whatever its many layers raise; its words are the reason that a user can act on.
        raise CandidateError(f"TensorFlow could not convert the model: {' '.join(str(error).split())[:400]}") from error


def _parse(value: object) -> int:
    return checked_whole_number(value, name="batch_size", low=1)


def _refusal(batch_size: int, capabilities: Capabilities) -> str | None:
    fixed = capabilities.fixed_batch_size
    if fixed is None or batch_size == fixed:
        return None
    return f"batch {batch_size}: the model's file is made for batches of {fixed} only"


BATCH_SIZE = Dimension("batch_size", default=1, parse=_parse, refusal=_refusal)
