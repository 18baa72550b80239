"""Other batch sizes of a `.tflite` that came as one: its shapes are written anew, and the answers are compared.

A graph says nowhere which of its dimensions is the batch, and a RESHAPE may have it baked into a constant. So a file of
another batch is believed only once it has answered real rows as the file itself does, each row by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from litefront.spaces.errors import CandidateError
from litefront.spaces.model_interface import ModelInterface, tflite_interface
from litefront.spaces.rows import Rows, by_name, row_count, row_shapes, take_rows
from litefront.spaces.tflite.file import add_constant, operator_code, read_tflite, write_tflite

__all__ = ["batch_refusal", "with_batch"]

_TRIED = (1, 3)
_ROWS = 3
# Kernels may sum in another order for another batch.
_TOLERANCE = 1e-4


def with_batch(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Gives a `.tflite` static shapes.

    Args:
        content: The file, with one signature.
        shapes: The shape of each input, by name.

    Returns:
        The file, as it is if its shapes are these already.

    Raises:
        CandidateError: If LiteRT does not take these shapes.
    """
    interface = tflite_interface(content)
    if all(spec.shape == tuple(shapes[spec.name]) for spec in interface.inputs):
        return content
    model = read_tflite(content)
    old, new = _batch_of(model.subgraphs[0]), next(iter(shapes.values()))[0]
    _reshape_to(model, old, new)
    found = _shapes_in_use(write_tflite(model), interface, shapes)
    for tensor, shape in zip(model.subgraphs[0].tensors, found, strict=False):
        if model.buffers[tensor.buffer].data is None:
            tensor.shape, tensor.shapeSignature = list(shape), None
    return write_tflite(model)


def batch_refusal(content: bytes, rows: Rows) -> str | None:
    """Why a `.tflite` cannot be given another batch, or None if it can.

    Args:
        content: The file, with one signature, whose rows have a batch dimension.
        rows: Rows that it is tried on.
    """
    interface = tflite_interface(content)
    some = take_rows(rows, np.arange(_ROWS) % row_count(rows))
    given = by_name(some, [interface.inputs[0].name])
    own = abs(interface.inputs[0].shape[0])
    try:
        expected = _answers(with_batch(content, interface.call_shapes(row_shapes(given), own)), given, own)
        for batch_size in _TRIED:
            answers = _answers(
                with_batch(content, interface.call_shapes(row_shapes(given), batch_size)), given, batch_size
            )
            for name, array in expected.items():
                if not _alike(answers[name], array):
                    return f"in batches of {batch_size} its output {name} is another than in those of {own}"
    except (CandidateError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:300]
    return None


def _batch_of(graph: Any) -> int:
    return int(graph.tensors[int(graph.inputs[0])].shape[0])


def _reshape_to(model: Any, old: int, new: int) -> None:
    """Has every RESHAPE to a constant shape that begins with the old batch begin with the new one."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_code(model, operator) != schema.BuiltinOperator.RESHAPE:
                continue
            options = operator.builtinOptions
            if options is not None and options.newShape is not None and len(options.newShape):
                options.newShape = _begun_anew(options.newShape, old, new)
            if len(operator.inputs) > 1:
                target = graph.tensors[int(operator.inputs[1])]
                if (data := model.buffers[target.buffer].data) is not None and len(data):
                    shape = np.asarray(data, "u1").view("<i4")
                    target.buffer = add_constant(model, np.array(_begun_anew(shape, old, new), "<i4"))


def _begun_anew(shape: Any, old: int, new: int) -> list[int]:
    first, *rest = map(int, shape)
    return [new if first == old else first, *rest]


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # A delegate would hide the shapes between its operators.
    return Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )


def _shapes_in_use(
    content: bytes, interface: ModelInterface, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The shape of each tensor of the first graph in a call of these shapes."""
    interpreter = _interpreter(content)
    try:
        places = {
            name: found["index"] for name, found in interpreter.get_signature_runner().get_input_details().items()
        }
        for name, index in places.items():
            interpreter.resize_tensor_input(index, list(shapes[name]))
        interpreter.allocate_tensors()
        for spec in interface.inputs:
            details = interpreter.get_tensor(places[spec.name])
            interpreter.set_tensor(places[spec.name], np.zeros_like(details))
        # What is reshaped by a computed shape gets its own in a call only.
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CandidateError(f"LiteRT does not take inputs of {dict(shapes)}: {reason}") from error
    return [tuple(found["shape"].tolist()) for found in interpreter.get_tensor_details()]


def _answers(content: bytes, rows: Mapping[str, NDArray[Any]], batch_size: int) -> dict[str, NDArray[Any]]:
    """What a file of this batch answers to the rows; calls are filled up with the first rows."""
    interpreter = _interpreter(content)
    runner = interpreter.get_signature_runner()
    details = runner.get_input_details()
    count = row_count(rows)
    answers: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, count, batch_size):
        picked = np.arange(start, start + batch_size) % count
        call = {name: rows[name][picked].astype(found["dtype"]) for name, found in details.items()}
        for name, answer in runner(**call).items():
            if answer.ndim == 0 or len(answer) != batch_size:
                raise CandidateError(f"its output {name} of shape {answer.shape} has no entry for each row")
            answers.setdefault(name, []).append(answer[: count - start])
    return {name: np.concatenate(parts) for name, parts in answers.items()}


def _alike(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    if theirs.dtype.kind != "f":
        return bool(np.array_equal(ours, theirs))
    scale = max(float(np.abs(theirs).max()), 1e-6)
    return bool(np.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))
