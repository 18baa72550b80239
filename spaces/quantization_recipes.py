"""What `ai-edge-quantizer` is told for each mode: its rules, of which later ones win."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from litefront.spaces.quantization import Quantization

__all__ = ["FLOAT_WEIGHTS", "Rules", "only", "recipe"]

Rules = list[dict[str, Any]]
FLOAT_WEIGHTS = "float32 "
"""Before the name of an operator that is spared: its weights, too, must stay in float."""


def recipe(quantization: Quantization, spared: Collection[str] = ()) -> Rules:
    """The rules of a mode.

    Args:
        quantization: The mode.
        spared: Operators by the names of their output tensors. For `mixed_int8` they compute in float, with weights in
            int8 unless the name has `FLOAT_WEIGHTS` before it; for `mixed_int16x8` with int16 activations, or in float
            where there is no such kernel; of block-wise weights they have a scale a row.
    """
    if quantization is Quantization.FLOAT16:
        return [_rule(_weights(16, "FLOAT"), algorithm="float_casting", explicit=True)]
    if quantization in (Quantization.WEIGHT_ONLY_INT8, Quantization.WEIGHT_ONLY_INT4):
        bits = 8 if quantization is Quantization.WEIGHT_ONLY_INT8 else 4
        return [_rule(_weights(bits), explicit=True)]
    if quantization.is_static_range:
        return _static_range(quantization, spared)
    return [*_DYNAMIC_RANGE[quantization], *_for_names(_rule(_weights(4)), spared)]


def _static_range(quantization: Quantization, spared: Collection[str]) -> Rules:
    if quantization is Quantization.INT16X8:
        return _INT16X8
    in_float = [name.removeprefix(FLOAT_WEIGHTS) for name in spared]
    others = [name for name in spared if not name.startswith(FLOAT_WEIGHTS)]
    instead = _INT16X8[0] if quantization is Quantization.MIXED_INT16X8 else _DYNAMIC_INT8
    # A rule that an operator cannot have is passed over, so the float one before it holds for such an operator.
    return [*_STATIC_INT8, *_for_names(_UNTOUCHED, in_float), *_for_names(instead, others)]


def only(names: Collection[str]) -> Rules:
    """The rules that make these operators alone static int8, by the names of their output tensors."""
    rule, *rest = _STATIC_INT8
    return [*_for_names(rule, names), *rest]


def _for_names(rule: dict[str, Any], names: Collection[str]) -> Rules:
    """A rule for the operators whose one output has one of these names; the quantizer closes each with a semicolon."""
    if not names:
        return []
    pattern = "|".join(map(re.escape, sorted(names)))
    # The quantizer keeps one rule a pattern, the last: the algorithm's name tells patterns of the same names apart.
    return [{**rule, "regex": f"(?#{rule['algorithm_key']})^({pattern});$"}]


def _weights(bits: int, dtype: str = "INT", granularity: str = "CHANNELWISE") -> dict[str, Any]:
    return {"num_bits": bits, "symmetric": True, "granularity": granularity, "dtype": dtype}


def _rule(
    weights: dict[str, Any],
    activations: dict[str, Any] | None = None,
    *,
    operation: str = "*",
    algorithm: str = "min_max_uniform_quantize",
    explicit: bool = False,
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "weight_tensor_config": weights,
        "compute_precision": "FLOAT" if explicit else "INTEGER",
        "explicit_dequantize": explicit,
    }
    if activations is not None:
        config["activation_tensor_config"] = activations
    return {"regex": ".*", "operation": operation, "algorithm_key": algorithm, "op_config": config}


def _activations(bits: int) -> dict[str, Any]:
    # The kernels take int16 with its zero in the middle only.
    return {"num_bits": bits, "symmetric": bits == 16, "granularity": "TENSORWISE", "dtype": "INT"}


_UNTOUCHED: dict[str, Any] = {"regex": ".*", "operation": "*", "algorithm_key": "no_quantize", "op_config": {}}
_DYNAMIC_INT8 = _rule(_weights(8))
_FLOAT_EDGES: Rules = [{**_UNTOUCHED, "operation": edge} for edge in ("INPUT", "OUTPUT")]
# There is no lookup with integer activations: the table alone is stored in integers, with a scale a row.
_INT8_TABLES = _rule(_weights(8), operation="EMBEDDING_LOOKUP")

_STATIC_INT8: Rules = [_rule(_weights(8), _activations(8)), *_FLOAT_EDGES, _INT8_TABLES]
_INT16X8: Rules = [_rule(_weights(8), _activations(16)), *_FLOAT_EDGES, _INT8_TABLES]

_DYNAMIC_RANGE: dict[Quantization, Rules] = {
    Quantization.DYNAMIC_INT8: [_DYNAMIC_INT8],
    Quantization.DYNAMIC_INT8_EMBEDDING_INT4: [_DYNAMIC_INT8, _rule(_weights(4), operation="EMBEDDING_LOOKUP")],
    Quantization.DYNAMIC_INT4: [_rule(_weights(4))],
    # Blocks are known to these two only; convolutions keep a scale a channel.
    Quantization.DYNAMIC_INT4_BLOCK32: [
        _rule(_weights(4)),
        *(
            _rule(_weights(4, granularity="BLOCKWISE_32"), operation=operation)
            for operation in ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
        ),
    ],
}
