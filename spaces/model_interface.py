"""What a model takes and gives: the names, shapes and types of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from litefront.spaces.errors import CandidateError

__all__ = ["ModelInterface", "TensorSpec", "tflite_interface"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and type of a model's input or output; the first dimension is the batch, -1 if it is free."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def takes(self, row_shape: Sequence[int]) -> bool:
        """Whether a row of this shape is one entry of the batch."""
        return bool(self.shape) and _fits(self.shape[1:], row_shape)

    def takes_whole(self, row_shape: Sequence[int]) -> bool:
        """Whether a row of this shape is all that a call takes: the input has no batch dimension."""
        return _fits(self.shape, row_shape) and not self.takes(row_shape)

    def call_shape(self, row_shape: Sequence[int], batch_size: int) -> tuple[int, ...]:
        """The shape of a call of so many rows."""
        return tuple(row_shape) if self.takes_whole(row_shape) else (batch_size, *row_shape)


@dataclass(frozen=True)
class ModelInterface:
    """All inputs and outputs, in the model's order; their names are those of its signature.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """As plain values."""
        return {
            which: [asdict(spec) | {"shape": list(spec.shape)} for spec in specs]
            for which, specs in (("inputs", self.inputs), ("outputs", self.outputs))
        }

    def call_shapes(
        self, row_shapes: Mapping[str, Sequence[int]] | None, batch_size: int
    ) -> dict[str, tuple[int, ...]]:
        """The shape of each input for a call of so many rows.

        Args:
            row_shapes: The shape of a row of each input, which settles sizes that the model leaves free; that of a
                model's only input may have an empty name. None: as the model has them, behind a batch dimension.
            batch_size: Rows a call.
        """
        if row_shapes is None:
            return {spec.name: (batch_size, *spec.shape[1:]) for spec in self.inputs}
        rows = {self.inputs[0].name: row_shapes[""]} if "" in row_shapes else row_shapes
        return {spec.name: spec.call_shape(rows[spec.name], batch_size) for spec in self.inputs}


def tflite_interface(content: bytes) -> ModelInterface:
    """The inputs and outputs of a `.tflite`'s signature; those of its graph, by their tensors' names, without one.

    Raises:
        CandidateError: If it is no `.tflite`.
    """
    from ai_edge_litert import schema_py_generated as schema

    from litefront.spaces.tflite.graph import TfliteGraph

    if content[4:8] != b"TFL3":
        raise CandidateError("refused: it has not the mark of a `.tflite` file")
    graph, model = TfliteGraph(content), schema.Model.GetRootAs(content, 0)
    if not model.SignatureDefsLength():
        return ModelInterface(
            tuple(TensorSpec(tensor.name, tensor.shape_signature, tensor.type.lower()) for tensor in graph.inputs),
            tuple(TensorSpec(tensor.name, tensor.shape_signature, tensor.type.lower()) for tensor in graph.outputs),
        )
    signature, subgraph = model.SignatureDefs(0), model.Subgraphs(0)
    by_place = {subgraph.Inputs(i): tensor for i, tensor in enumerate(graph.inputs)} | {
        subgraph.Outputs(i): tensor for i, tensor in enumerate(graph.outputs)
    }
    inputs = [signature.Inputs(i) for i in range(signature.InputsLength())]
    outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    inputs.sort(key=lambda entry: list(by_place).index(entry.TensorIndex()))
    found = []
    for entries in (inputs, outputs):
        tensors = [(entry.Name().decode(), by_place[entry.TensorIndex()]) for entry in entries]
        found.append(tuple(TensorSpec(name, t.shape_signature, t.type.lower()) for name, t in tensors))
    return ModelInterface(*found)


def _fits(expected: Sequence[int], given: Sequence[int]) -> bool:
    return len(expected) == len(given) and all(e in (-1, g) for e, g in zip(expected, given, strict=True))
