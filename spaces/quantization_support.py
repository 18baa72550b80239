"""What of a float model a mode can take: found in its operators, before anything is trained or converted."""

from __future__ import annotations

from collections.abc import Iterator

from litefront.spaces.quantization import Quantization
from litefront.spaces.quantization_recipes import recipe
from litefront.spaces.tflite.embedding_lookup import look_embeddings_up
from litefront.spaces.tflite.graph import OperatorFacts, TensorFacts, TfliteGraph, operator_number

__all__ = ["operators_without_blocks", "quantization_refusals"]

_BLOCK = 32
_FEWEST_UNITS = 4
"""With fewer, the built-in kernel gives wrong sums of block-wise weights, where XNNPACK's are right."""
_BLOCKED = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")


def quantization_refusals(float_tflite: bytes) -> dict[Quantization, str]:
    """Why a model cannot be quantized so, by mode; a mode that is possible is not in it.

    Args:
        float_tflite: The float model.

    Raises:
        CandidateError: If it is not a `.tflite`.
    """
    graph = TfliteGraph(look_embeddings_up(float_tflite))
    reasons = {mode: _refusal(graph, mode) for mode in Quantization if mode is not Quantization.FLOAT32}
    return {mode: reason for mode, reason in reasons.items() if reason is not None}


def operators_without_blocks(graph: TfliteGraph) -> tuple[str, ...]:
    """Operators whose weights cannot have a scale for each 32 of a row, by the names of their output tensors."""
    return tuple(
        op.output_name for op, kernel in _weighted(graph) if op.name in _BLOCKED and not _has_blocks(op, kernel)
    )


def _has_blocks(op: OperatorFacts, kernel: TensorFacts) -> bool:
    is_table = op.name == "EMBEDDING_LOOKUP"
    return kernel.shape[-1] % _BLOCK == 0 and (is_table or kernel.shape[0] >= _FEWEST_UNITS)


def _refusal(graph: TfliteGraph, mode: Quantization) -> str | None:
    weighted = list(_weighted(graph))
    names = sorted({op.name for op, _ in weighted})
    if not weighted:
        return f"{mode}: no operator of the model has float weights"
    if mode is Quantization.DYNAMIC_INT8_EMBEDDING_INT4 and "EMBEDDING_LOOKUP" not in names:
        return f"{mode}: the model looks no embedding up"
    if mode is Quantization.DYNAMIC_INT4_BLOCK32 and not any(
        op.name in _BLOCKED and _has_blocks(op, kernel) for op, kernel in weighted
    ):
        return (
            f"{mode}: blocks need a dense layer of at least {_FEWEST_UNITS} units or an embedding, with rows that "
            f"{_BLOCK} divides; the weights are of {', '.join(names)}"
        )
    if not any(_is_taken(op, mode) for op, _ in weighted):
        return f"{mode}: the quantizer stores no weights of {', '.join(names)} as {mode.weight_type}"
    return None


def _is_taken(op: OperatorFacts, mode: Quantization) -> bool:
    """Whether the quantizer's own policy lets the mode's rules have an operator."""
    from ai_edge_quantizer import algorithm_manager, recipe_manager
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import TFL_OP_CODE_TO_NAME

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe(mode))
    name = TFL_OP_CODE_TO_NAME.get(operator_number(op.name))
    if name is None:
        return False
    algorithm, _ = rules.get_quantization_configs(name, f"{op.output_name};")
    return bool(algorithm != algorithm_manager.AlgorithmName.NO_QUANTIZE)


def _weighted(graph: TfliteGraph) -> Iterator[tuple[OperatorFacts, TensorFacts]]:
    for op in graph.operators:
        if (kernel := op.kernel()) is not None and kernel.type == "FLOAT32":
            yield op, kernel
