"""What becomes of a `.tflite` that a study starts from: float32 weights, stored densely, and one named signature.

Files for phones often keep their weights in half precision, or without their zeros, and have operators (DEQUANTIZE,
DENSIFY) that widen them when the model is loaded. Neither the quantizer nor pruning sees such weights. So they are
widened here, once: the answers stay the same to the bit, and quantization makes half precision again where it is asked
for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.errors import InputError
from litefront.spaces.tflite.file import (
    add_constant,
    drop_unused,
    operator_code,
    read_tflite,
    set_signature,
    stateful_operators,
    write_tflite,
)
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.sparse_tensor import densified

__all__ = ["take_in"]

_FLOATS: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
}
_OPERATORS = schema.BuiltinOperator


def take_in(content: bytes, name: str, signature: str) -> bytes:
    """Makes a user's float `.tflite` one that every later stage takes.

    Args:
        content: The file's bytes.
        name: Its name, for messages.
        signature: The signature that is meant; a file that has one or none need not name it.

    Returns:
        A file that gives the same answers, with float32 weights and one signature; the very same if it has those.

    Raises:
        InputError: If it cannot be searched; the message says why.
    """
    if content[4:8] != b"TFL3":
        raise InputError(f"The model {name} does not load: it has not the mark of a `.tflite` file.")
    model = read_tflite(content)
    _refuse_operators(model, name)
    given = model.signatureDefs
    _choose_signature(model, name, signature)
    operators = [len(graph.operators) for graph in model.subgraphs]
    for graph in model.subgraphs:
        _widen(model, graph)
    renamed = _complete_codes(model)
    if (
        not renamed
        and model.signatureDefs == given
        and operators == [len(graph.operators) for graph in model.subgraphs]
    ):
        taken_in = content
    else:
        drop_unused(model)
        taken_in = write_tflite(model)
    types = TfliteGraph(taken_in).weight_types | {
        _type_name(tensor.type) for graph in model.subgraphs for tensor in graph.tensors if _is_quantized(tensor)
    }
    if quantized := types - {"FLOAT32"}:
        raise InputError(
            f"A `.tflite` model must have float32 or float16 weights to start from, but {name} has {sorted(quantized)}."
        )
    return taken_in


def _complete_codes(model: Any) -> bool:
    """Writes each operator's code where newer tools look for it; gives whether one stood only where older ones do.

    The quantizer reads the newer field alone. In an older file that is 0, which stands for ADD, so that it leaves every
    weight in float without a word.
    """
    older = [code for code in model.operatorCodes if code.builtinCode < code.deprecatedBuiltinCode]
    for code in older:
        code.builtinCode = code.deprecatedBuiltinCode
    return bool(older)


def _refuse_operators(model: Any, name: str) -> None:
    codes = {operator_code(model, operator) for graph in model.subgraphs for operator in graph.operators}
    if _OPERATORS.CUSTOM in codes:
        custom = sorted({code.customCode.decode() for code in model.operatorCodes if code.customCode})
        named = f": {', '.join(custom)}" if custom else ""
        raise InputError(f"The model must use LiteRT's own operators, but {name} has custom ones{named}.")
    if stateful := stateful_operators(model):
        raise InputError(
            f"The model must answer each row by itself, but {name} keeps state from call to call: "
            f"{', '.join(stateful)}."
        )


def _choose_signature(model: Any, name: str, wanted: str) -> None:
    graph, signatures = model.subgraphs[0], model.signatureDefs or []
    if not signatures:
        set_signature(model, _named_tensors(graph, graph.inputs), _named_tensors(graph, graph.outputs))
        return
    named = [entry for entry in signatures if entry.signatureKey.decode() == wanted]
    if not named and len(signatures) > 1:
        keys = sorted(entry.signatureKey.decode() for entry in signatures)
        raise InputError(f"The model must have the signature `{wanted}`, but {name} has {keys}.")
    (chosen,) = named or signatures
    if chosen.subgraphIndex != 0:
        raise InputError(f"The signature must be that of a file's first graph, but `{wanted}` of {name} is another's.")
    model.signatureDefs = [chosen]


def _named_tensors(graph: Any, indices: Any) -> dict[str, int]:
    """The tensors by their names; a name that is taken has the tensor's number behind it."""
    named: dict[str, int] = {}
    for index in map(int, indices):
        name = (graph.tensors[index].name or b"").decode(errors="replace") or f"tensor_{index}"
        named[f"{name}_{index}" if name in named else name] = index
    return named


def _widen(model: Any, graph: Any) -> None:
    """Does once what DENSIFY and DEQUANTIZE would do to constants at each load."""
    kept, widened = [], {}
    for operator in graph.operators:
        code = operator_code(model, operator)
        if code not in (_OPERATORS.DENSIFY, _OPERATORS.DEQUANTIZE):
            kept.append(operator)
            continue
        source, target = graph.tensors[int(operator.inputs[0])], graph.tensors[int(operator.outputs[0])]
        stored = model.buffers[source.buffer].data
        if source.type not in _FLOATS or stored is None or not len(stored):
            kept.append(operator)
            continue
        values = np.asarray(stored, "u1").view(_FLOATS[source.type])
        if source.sparsity is not None:
            values = densified(values, tuple(int(size) for size in source.shape), source.sparsity)
        place = (source.buffer, source.sparsity is None, target.type)
        if place not in widened:
            widened[place] = add_constant(model, values.astype(_FLOATS[target.type]))
        target.buffer = widened[place]
    graph.operators = kept


def _is_quantized(tensor: Any) -> bool:
    """Whether its values stand for others, by a scale; or are floats that computing has to widen."""
    scaled = tensor.quantization is not None and tensor.quantization.scale is not None
    return (scaled and len(tensor.quantization.scale) > 0) or tensor.type == schema.TensorType.FLOAT16


def _type_name(number: int) -> str:
    return next(str(name) for name, value in vars(schema.TensorType).items() if value == number)
