"""Quantization: how weights and activations are stored and computed, and how a float `.tflite` gets there.

One float conversion serves every mode: `ai-edge-quantizer` works on the `.tflite` itself, in tens of milliseconds
where a conversion takes seconds. The quantizer leaves in float what it cannot quantize and does not say so, hence
`tflite_graph.quantized_share` is asked of every file that it writes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from litefront.spaces.calibration import Calibration, calibrate
from litefront.spaces.dimension import Capabilities, Dimension, checked_choice
from litefront.spaces.errors import CandidateError
from litefront.spaces.muted_stderr import muted_stderr
from litefront.spaces.rows import Rows

if TYPE_CHECKING:
    import numpy as np

    from litefront.spaces.rows import Rows

__all__ = [
    "QUANTIZATION",
    "Quantization",
    "Ranges",
    "activation_ranges",
    "apply_recipe",
    "apply_rules",
    "prepare",
    "quantize",
]

Ranges = dict[str, dict[str, "np.ndarray"]]
"""The lowest and highest value of each activation, by tensor name, as the quantizer takes them."""


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
    float_tflite: bytes,
    quantization: Quantization,
    *,
    representative_dataset: Rows | None = None,
    calibration: Calibration = Calibration.MIN_MAX,
    fragile: Collection[str] = (),
) -> bytes:
    """Quantizes a float `.tflite`; inputs and outputs stay float32, so that every cell is a drop-in for the others.

    Args:
        float_tflite: The float model, with a static batch.
        quantization: What to make of it; float32 gives the model back unchanged.
        representative_dataset: Rows of the model's inputs; needed for the static-range modes.
        calibration: How the ranges of activations follow from these rows.
        fragile: For the mixed modes the operators to spare, by the names of their output tensors.

    Returns:
        The quantized model, seen to load.

    Raises:
        CandidateError: If the quantizer refuses the model, or the interpreter what it made.
    """
    if quantization is Quantization.FLOAT32:
        return float_tflite
    from litefront.spaces.tflite.model_calls import ModelCalls

    prepared = prepare(float_tflite)
    ranges = None
    if quantization.is_static_range:
        assert representative_dataset is not None, "the space refuses static range without a data set"
        ranges = activation_ranges(prepared, quantization, representative_dataset, calibration)
    content = apply_recipe(prepared, quantization, ranges, fragile)
    ModelCalls(content)
    return content


def prepare(float_tflite: bytes) -> bytes:
    """The model with what the quantizer needs: a signature, and embeddings that are looked up."""
    from litefront.spaces.tflite.embedding_lookup import look_embeddings_up
    from litefront.spaces.tflite.file import add_signature

    return look_embeddings_up(add_signature(float_tflite))


def activation_ranges(
    float_tflite: bytes, quantization: Quantization, representative_dataset: Rows, calibration: Calibration
) -> Ranges:
    """The ranges that a static-range mode needs; those of `int8` serve the mixed modes with any operators spared.

    Raises:
        CandidateError: If the quantizer refuses the model or the rows.
    """
    from litefront.spaces.quantization_recipes import recipe

    with _refusals_as_errors(quantization):
        return calibrate(float_tflite, recipe(quantization), representative_dataset, calibration)


def apply_recipe(
    float_tflite: bytes, quantization: Quantization, ranges: Ranges | None, fragile: Collection[str] = ()
) -> bytes:
    """Quantizes a prepared model with ranges that are known.

    Raises:
        CandidateError: If the quantizer refuses the model.
    """
    from litefront.spaces.quantization_recipes import recipe
    from litefront.spaces.quantization_support import operators_without_blocks
    from litefront.spaces.tflite.graph import TfliteGraph

    blockwise = quantization is Quantization.DYNAMIC_INT4_BLOCK32
    spared = operators_without_blocks(TfliteGraph(float_tflite)) if blockwise else fragile
    return apply_rules(float_tflite, recipe(quantization, spared), ranges, name=quantization)


def apply_rules(float_tflite: bytes, rules: list[dict[str, Any]], ranges: Ranges | None, *, name: str) -> bytes:
    """Quantizes a prepared model by the quantizer's rules.

    Args:
        float_tflite: What `prepare` gave.
        rules: As `quantization_recipes` has them.
        ranges: Of the activations, where the rules ask for them.
        name: What to call this in an error.

    Raises:
        CandidateError: If the quantizer refuses the model.
    """
    from ai_edge_quantizer import quantizer

    from litefront.spaces.tflite.dead_filters import repair_dead_filters
    from litefront.spaces.tflite.file import share_zero_points

    with _refusals_as_errors(name):
        work = quantizer.Quantizer(float_tflite, rules)
        content = bytes(work.quantize(ranges, enable_progress_report=False).quantized_model)
    return share_zero_points(content if ranges is None else repair_dead_filters(content, float_tflite))


@contextlib.contextmanager
def _refusals_as_errors(name: str) -> Iterator[None]:
    with _silence():
        try:
            yield
        except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            raise CandidateError(f"the quantizer refused {name}: {error}") from error


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
