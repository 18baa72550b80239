"""One-shot magnitude pruning of a `.tflite`'s weights, where there is nothing to train them further with.

The weights of each layer that matter least are set to zero, at the level that was asked for: every layer alike, as the
gradual pruning of Keras models does (`magnitude_pruning`). Kernels are taken as the matrices that LiteRT computes with,
an output channel a row; blocks and groups lie along a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from litefront.spaces.errors import CandidateError
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.tflite.file import add_constant, operator_code, read_tflite, write_tflite

__all__ = ["CHANNEL_REFUSAL", "prune_tflite"]

CHANNEL_REFUSAL = "whole channels can be removed from a Keras model only, and this one came as a `.tflite`"

# Where the kernel stands among the inputs of the operators that are pruned, as in `tflite_graph`.
_KERNELS = {
    schema.BuiltinOperator.CONV_2D: 1,
    schema.BuiltinOperator.FULLY_CONNECTED: 1,
    schema.BuiltinOperator.CONV_3D: 1,
    schema.BuiltinOperator.TRANSPOSE_CONV: 1,
    schema.BuiltinOperator.GATHER: 0,
}
_BLOCK = 4


def prune_tflite(content: bytes, sparsity: Sparsity) -> bytes:
    """Sets the smallest weights of every prunable layer to zero.

    Args:
        content: A float32 `.tflite`.
        sparsity: How many, and which go together; above level 0.

    Returns:
        The file with that share of zeros, to the nearest whole group, in the kernel of each layer.

    Raises:
        CandidateError: If the pattern cannot be had here, or there is nothing to prune.
    """
    if sparsity.pattern is Pattern.CHANNEL:
        raise CandidateError(CHANNEL_REFUSAL)
    model = read_tflite(content)
    kernels = _kernels(model)
    if not kernels:
        raise CandidateError("the model has no layer whose weights can be pruned")
    for name, tensor in kernels.items():
        weights = np.asarray(model.buffers[tensor.buffer].data, "u1").view("<f4").reshape(tuple(tensor.shape))
        pruned = np.where(_mask(weights, sparsity), weights, np.float32(0))
        _check_reached(pruned, sparsity, name)
        tensor.buffer = add_constant(model, pruned)
    _drop_replaced(model)
    return write_tflite(model)


def _kernels(model: Any) -> dict[str, Any]:
    """The prunable kernels, by name; one that several operators share is there once."""
    found: dict[str, Any] = {}
    for number, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            position = _KERNELS.get(operator_code(model, operator))
            if position is None:
                continue
            index = int(operator.inputs[position])
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            is_weight = data is not None and len(data) and tensor.type == schema.TensorType.FLOAT32
            if is_weight and len(tensor.shape) > 1:
                found[f"{(tensor.name or b'').decode(errors='replace')} ({number}.{index})"] = tensor
    return found


def _mask(weights: NDArray[Any], sparsity: Sparsity) -> NDArray[np.bool_]:
    """Which weights stay."""
    size = np.abs(weights)
    if sparsity.pattern is Pattern.N_OF_M:
        return _best_of_each(size, sparsity)
    if sparsity.pattern is Pattern.BLOCK:
        means = np.nanmean(_groups(size, _BLOCK), axis=-1)
        kept = _largest(means, sparsity.level)
        return np.repeat(kept, _BLOCK, axis=-1).reshape(*size.shape[:-1], -1)[..., : size.shape[-1]]
    return _largest(size, sparsity.level)


def _largest(size: NDArray[Any], level: float) -> NDArray[np.bool_]:
    """All but the smallest `level` of them, a whole number; equal ones go by their place."""
    dropped = np.argsort(size, axis=None, kind="stable")[: round(level * size.size)]
    kept = np.ones(size.size, dtype=bool)
    kept[dropped] = False
    return kept.reshape(size.shape)


def _best_of_each(size: NDArray[Any], sparsity: Sparsity) -> NDArray[np.bool_]:
    """All but the n smallest of each m; of a last group that is shorter, in proportion."""
    groups = _groups(size, sparsity.of)
    present = np.count_nonzero(~np.isnan(groups), axis=-1, keepdims=True)
    dropped = np.ceil(present * sparsity.level - 1e-9)
    # What is missing from a short group counts as its largest.
    rank = np.argsort(np.argsort(groups, axis=-1, kind="stable"), axis=-1, kind="stable")
    kept: NDArray[np.bool_] = rank >= dropped
    return kept.reshape(*size.shape[:-1], -1)[..., : size.shape[-1]]


def _groups(size: NDArray[Any], width: int) -> NDArray[Any]:
    """So many neighbours along each row, shape `(..., groups, width)`; a last group is filled up with NaN."""
    missing = -size.shape[-1] % width
    padded = np.pad(size, [(0, 0)] * (size.ndim - 1) + [(0, missing)], constant_values=np.nan)
    return padded.reshape(*size.shape[:-1], -1, width)


def _check_reached(pruned: NDArray[Any], sparsity: Sparsity, name: str) -> None:
    reached = 1.0 - np.count_nonzero(pruned) / pruned.size
    # A whole number of blocks, where the last of a row may be shorter.
    slack = _BLOCK * (1 + pruned.size // pruned.shape[-1]) if sparsity.pattern is Pattern.BLOCK else 1
    if reached < sparsity.level - slack / pruned.size:
        raise CandidateError(f"pruning to {sparsity} ended at {reached:.4f} in {name}")


def _drop_replaced(model: Any) -> None:
    """Empties the buffers that no tensor refers to any more."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
