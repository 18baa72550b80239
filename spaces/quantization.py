"""Quantization: how weights and activations are stored and computed, and how a float `.tflite` gets there.

One float conversion serves every mode: `ai-edge-quantizer` works on the `.tflite` itself, in tens of milliseconds
where a conversion takes seconds. The quantizer leaves in float what it cannot quantize and does not say so, hence
`tflite_graph.quantized_share` is asked of every file that it writes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice
from litefront.spaces.errors import CandidateError
from litefront.spaces.muted_stderr import muted_stderr

if TYPE_CHECKING:
    import numpy as np

__all__ = ["QUANTIZATION", "Quantization", "quantize"]


class Quantization(StrEnum):
    """How weights and activations are stored and computed; the values are the names in study files and bundles."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    INT8 = "int8"
    INT16X8 = "int16x8"
    DYNAMIC_INT4 = "dynamic_int4"
    DYNAMIC_INT4_BLOCK32 = "dynamic_int4_block32"
    """A scale for each 32 weights of a row."""
    DYNAMIC_INT8_EMBEDDING_INT4 = "dynamic_int8_embedding_int4"
    """Embedding tables in four bits, all else as in dynamic_int8."""
    WEIGHT_ONLY_INT8 = "weight_only_int8"
    WEIGHT_ONLY_INT4 = "weight_only_int4"
    MIXED_INT8 = "mixed_int8"
    """Static int8, where the operators that lose most stay in float."""
    MIXED_INT16X8 = "mixed_int16x8"
    """Static int8, where the operators that lose most have int16 activations."""
    QAT_INT8 = "qat_int8"
    """Static int8 of a model that was trained with it in view."""

    @property
    def is_static_range(self) -> bool:
        """Whether activations have ranges that were fixed before."""
        return self in _STATIC_RANGE

    @property
    def is_calibrated(self) -> bool:
        """Whether those ranges come from the representative data set."""
        return self.is_static_range and self is not Quantization.QAT_INT8

    @property
    def is_mixed(self) -> bool:
        """Whether it asks which operators lose most."""
        return self in (Quantization.MIXED_INT8, Quantization.MIXED_INT16X8)

    @property
    def weight_type(self) -> str:
        """The `.tflite` tensor type that weights should have; what the achieved share is counted against."""
        return _WEIGHT_TYPES.get(self, "INT8")

    @property
    def activation_type(self) -> str:
        """The `.tflite` tensor type that activations should have."""
        if self is Quantization.INT16X8:
            return "INT16"
        return "INT8" if self.is_static_range else "FLOAT32"


_STATIC_RANGE = frozenset(
    {
        Quantization.INT8,
        Quantization.INT16X8,
        Quantization.MIXED_INT8,
        Quantization.MIXED_INT16X8,
        Quantization.QAT_INT8,
    }
)
_WEIGHT_TYPES = {
    Quantization.FLOAT32: "FLOAT32",
    Quantization.FLOAT16: "FLOAT16",
    Quantization.DYNAMIC_INT4: "INT4",
    Quantization.DYNAMIC_INT4_BLOCK32: "INT4",
    Quantization.WEIGHT_ONLY_INT4: "INT4",
}


def quantize(
    float_tflite: bytes, quantization: Quantization, *, representative_dataset: np.ndarray | None = None
) -> bytes:
    """Quantizes a float `.tflite`; inputs and outputs stay float32, so that every cell is a drop-in for the others.

    Args:
        float_tflite: The float model, with a static batch.
        quantization: What to make of it; float32 gives the model back unchanged.
        representative_dataset: Rows of the model's input, shape `(rows, ...)`; needed for the static-range modes.

    Returns:
        The quantized model.

    Raises:
        CandidateError: If the quantizer refuses the model.
    """
    if quantization is Quantization.FLOAT32:
        return float_tflite
    from ai_edge_quantizer import quantizer

    from litefront.spaces.dead_filters import repair_dead_filters

    with _silence():
        try:
            work = quantizer.Quantizer(float_tflite, _recipe(quantization))
            calibration = None
            if work.need_calibration:
                assert representative_dataset is not None, "the space refuses static range without a data set"
                calibration = _calibrate(float_tflite, _recipe(quantization), representative_dataset)
            content = bytes(work.quantize(calibration, enable_progress_report=False).quantized_model)
        except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            raise CandidateError(f"the quantizer refused {quantization}: {error}") from error
    return repair_dead_filters(content, float_tflite) if quantization.is_static_range else content


def _recipe(quantization: Quantization) -> list[dict[str, Any]]:
    """The `ai-edge-quantizer` recipe of a mode; later rules win."""
    from ai_edge_quantizer import recipe

    if quantization is Quantization.FLOAT16:
        config = {
            "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
        }
        return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]
    recipes = {
        Quantization.DYNAMIC_INT8: recipe.dynamic_wi8_afp32,
        Quantization.INT8: recipe.static_wi8_ai8,
        Quantization.INT16X8: recipe.static_wi8_ai16,
        Quantization.WEIGHT_ONLY_INT8: recipe.weight_only_wi8_afp32,
        Quantization.DYNAMIC_INT4: recipe.dynamic_wi4_afp32,
    }
    rules: list[dict[str, Any]] = list(recipes[quantization]())
    if quantization.is_static_range:
        rules += [
            {"regex": ".*", "operation": edge, "algorithm_key": "no_quantize", "op_config": {}}
            for edge in ("INPUT", "OUTPUT")
        ]
    return rules


def _calibrate(float_tflite: bytes, recipe: list[dict[str, Any]], representative_dataset: np.ndarray) -> Any:
    """The range of each tensor over the representative rows: the lowest and highest value seen.

    The quantizer's own default is a moving average over calls. It depends on the order of the rows and on the batch,
    and clips what is rare: on a tiny classifier the largest difference of int8 was 0.124 at batch 1, 0.006 at batch 4.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe)
    work = calibrator.Calibrator(float_tflite, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    work.calibrate(_calibration_samples(float_tflite, representative_dataset), rules)
    return work.get_model_qsvs()


def _calibration_samples(
    float_tflite: bytes, representative_dataset: np.ndarray
) -> dict[str | None, list[dict[str, np.ndarray]]]:
    """The representative rows as calls of the model's signature, each of the model's static batch.

    A last group that is too short is filled up with the first rows, so that every row is seen.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=float_tflite)
    batch = int(interpreter.get_input_details()[0]["shape"][0])
    signatures = interpreter.get_signature_list()
    if not signatures:
        raise CandidateError("the `.tflite` has no signature, which calibration needs")
    name, signature = next(iter(signatures.items()))
    groups = -(-len(representative_dataset) // batch)
    rows = np.resize(representative_dataset, (groups * batch, *representative_dataset.shape[1:]))
    return {name: [{signature["inputs"][0]: group} for group in np.split(rows, groups)]}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the quantizer's progress bars off the terminal, where they would tear ours."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), muted_stderr():
        yield


def _parse(value: object) -> Quantization:
    return checked_choice(value, Quantization, name="quantization")


def _refusal(quantization: Quantization, capabilities: Capabilities) -> str | None:
    if quantization.is_calibrated and capabilities.calibration_refusal is not None:
        return f"{quantization}: {capabilities.calibration_refusal}"
    return capabilities.quantization_refusals.get(quantization)


QUANTIZATION = Dimension("quantization", default=Quantization.FLOAT32, parse=_parse, refusal=_refusal)
