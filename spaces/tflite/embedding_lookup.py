"""Embedding tables: read by EMBEDDING_LOOKUP, which the quantizer takes, in place of GATHER, which it does not.

A Keras Embedding is converted into a GATHER from a float table, and `ai-edge-quantizer` leaves that table in float32
unless activations are static; of a small BERT it is half of all weights. EMBEDDING_LOOKUP gives the same rows of the
same table (it copies them), and its table can be stored in int8 or int4 with a scale for each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.tflite.file import code_index, constant_data, operator_code, read_tflite, write_tflite

__all__ = ["look_embeddings_up"]

_Operator = schema.BuiltinOperator


def look_embeddings_up(float_tflite: bytes) -> bytes:
    """Replaces each GATHER of rows from a constant float32 table by RESHAPE, EMBEDDING_LOOKUP and RESHAPE.

    The output keeps its tensor and with it its name; ids of 64 bits are cast to the 32 that the lookup takes.

    Args:
        float_tflite: A float model.

    Returns:
        The model, whose outputs are the same to the bit; without such a table, the same bytes.
    """
    model = read_tflite(float_tflite)
    changes = [_Lookups(model, graph).replace() for graph in model.subgraphs]
    return write_tflite(model) if any(changes) else float_tflite


class _Lookups:
    """Rewrites one graph of a model in place."""

    def __init__(self, model: Any, graph: Any) -> None:
        self._model = model
        self._graph = graph

    def replace(self) -> int:
        """Replaces what can be replaced; gives the number of lookups made."""
        operators = []
        for operator in self._graph.operators:
            operators += self._lookup(operator) if self._is_table_row_gather(operator) else [operator]
        made = len(operators) - len(self._graph.operators)
        self._graph.operators = operators
        return made

    def _is_table_row_gather(self, operator: Any) -> bool:
        if operator_code(self._model, operator) != _Operator.GATHER:
            return False
        options = operator.builtinOptions
        if options is not None and (options.axis or options.batchDims):
            return False
        table, ids = (self._graph.tensors[index] for index in operator.inputs[:2])
        return (
            table.type == schema.TensorType.FLOAT32
            and len(table.shape) == 2
            and constant_data(self._model, table) is not None
            and ids.type in (schema.TensorType.INT32, schema.TensorType.INT64)
            and constant_data(self._model, ids) is None
            and not _is_dynamic(ids)
        )

    def _lookup(self, gather: Any) -> list[Any]:
        """RESHAPE of the ids to one dimension, lookup, RESHAPE to what the gather gave."""
        table, ids = gather.inputs[:2]
        (output,) = gather.outputs
        name = self._graph.tensors[output].name
        count = int(np.prod(self._graph.tensors[ids].shape, dtype=np.int64))
        columns = int(self._graph.tensors[table].shape[1])
        made = []
        if self._graph.tensors[ids].type == schema.TensorType.INT64:
            narrow = self._tensor(name + b"/ids32", list(self._graph.tensors[ids].shape), schema.TensorType.INT32)
            made.append(self._operator(_Operator.CAST, [ids], [narrow]))
            ids = narrow
        flat = self._tensor(name + b"/ids", [count], schema.TensorType.INT32)
        rows = self._tensor(name + b"/rows", [count, columns], schema.TensorType.FLOAT32)
        made.append(self._reshape(ids, flat))
        made.append(self._operator(_Operator.EMBEDDING_LOOKUP, [flat, table], [rows]))
        made.append(self._reshape(rows, output))
        return made

    def _reshape(self, taken: int, given: int) -> Any:
        shape = np.asarray(self._graph.tensors[given].shape, "<i4")
        name = self._graph.tensors[given].name + b"/shape"
        constant = self._tensor(name, [len(shape)], schema.TensorType.INT32, shape)
        operator = self._operator(_Operator.RESHAPE, [taken, constant], [given])
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = shape.tolist()
        return operator

    def _tensor(self, name: bytes, shape: list[int], kind: int, values: np.ndarray | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, kind
        # Buffer 0 is the empty one that every activation shares.
        if values is not None:
            tensor.buffer = len(self._model.buffers)
            buffer = schema.BufferT()
            buffer.data = values.view("u1")
            self._model.buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, number: int, inputs: list[int], outputs: list[int]) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = code_index(self._model, number, _VERSIONS.get(number, 1))
        operator.inputs, operator.outputs = inputs, outputs
        return operator


_VERSIONS = {_Operator.EMBEDDING_LOOKUP: 3}
"""Version 3 of the lookup reads int8 and int4 tables with a scale a row."""


def _is_dynamic(tensor: Any) -> bool:
    return tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature)
