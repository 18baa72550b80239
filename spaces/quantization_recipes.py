"""What `ai-edge-quantizer` is told for each mode: its rules, of which later ones win."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from litefront.spaces.quantization import Quantization

__all__ = ["STATIC_INT8", "recipe"]

Rules = list[dict[str, Any]]


def recipe(quantization: Quantization, spared: Collection[str] = ()) -> Rules:
    """The rules of a mode.

    Args:
        quantization: The mode.
        spared: Operators by the names of their output tensors: for the mixed modes the fragile ones, for block-wise
            weights those that cannot have blocks and get a scale a row.
    """
    if quantization is Quantization.FLOAT16:
        return [_rule(_weights(16, "FLOAT"), algorithm="float_casting", explicit=True)]
    if quantization in (Quantization.WEIGHT_ONLY_INT8, Quantization.WEIGHT_ONLY_INT4):
        bits = 8 if quantization is Quantization.WEIGHT_ONLY_INT8 else 4
        return [_rule(_weights(bits), explicit=True)]
    if quantization.is_static_range:
        return _static_range(quantization, spared)
    return [*_DYNAMIC_RANGE[quantization], *_instead(_rule(_weights(4)), spared)]


def _static_range(quantization: Quantization, spared: Collection[str]) -> Rules:
    rules = _INT16X8 if quantization is Quantization.INT16X8 else STATIC_INT8
    instead = _INT16X8[0] if quantization is Quantization.MIXED_INT16X8 else _UNTOUCHED
    return [*rules, *_instead(instead, spared)]


def _instead(rule: dict[str, Any], spared: Collection[str]) -> Rules:
    return [{**rule, "regex": _exactly(name)} for name in sorted(spared)]


def _exactly(name: str) -> str:
    """A pattern for the operator whose one output has this name; the quantizer closes each name with a semicolon."""
    return f"^{re.escape(name)};$"


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
_FLOAT_EDGES: Rules = [{**_UNTOUCHED, "operation": edge} for edge in ("INPUT", "OUTPUT")]
# There is no lookup with integer activations: the table alone is stored in integers, with a scale a row.
_INT8_TABLES = _rule(_weights(8), operation="EMBEDDING_LOOKUP")

STATIC_INT8: Rules = [_rule(_weights(8), _activations(8)), *_FLOAT_EDGES, _INT8_TABLES]
_INT16X8: Rules = [_rule(_weights(8), _activations(16)), *_FLOAT_EDGES, _INT8_TABLES]

_DYNAMIC_RANGE: dict[Quantization, Rules] = {
    Quantization.DYNAMIC_INT8: [_rule(_weights(8))],
    Quantization.DYNAMIC_INT8_EMBEDDING_INT4: [_rule(_weights(8)), _rule(_weights(4), operation="EMBEDDING_LOOKUP")],
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
