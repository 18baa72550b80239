"""Rows as the calls of a `.tflite`'s signature, each of the model's static batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.errors import CandidateError
from litefront.spaces.rows import Rows, row_count
from litefront.spaces.tflite.file import add_signature

__all__ = ["ModelCalls", "ModelTensor"]


@dataclass(frozen=True)
class ModelTensor:
    """A tensor whose values can be read after a call.

    Attributes:
        name: Its name in the file.
        shape: Its static shape.
        values: Gives a copy of its values of the last call.
    """

    name: str
    shape: tuple[int, ...]
    values: Callable[[], np.ndarray]

    @property
    def elements(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


class ModelCalls:
    """A model in this process, on one thread, that rows are run through.

    Args:
        tflite: The model; one without signature is called by its tensors' names.
        preserve_tensors: Whether every tensor of the graph can be read after a call.

    Raises:
        CandidateError: If the interpreter does not load the file.
    """

    def __init__(self, tflite: bytes, *, preserve_tensors: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.content = add_signature(tflite)
        try:
            self.interpreter = Interpreter(
                model_content=self.content, num_threads=1, experimental_preserve_all_tensors=preserve_tensors
            )
            self.interpreter.allocate_tensors()
            self.signature = next(iter(self.interpreter.get_signature_list()))
            self._runner = self.interpreter.get_signature_runner(self.signature)
        except (ValueError, RuntimeError) as error:
            raise CandidateError(f"the file does not load: {_one_line(error)}") from error
        self._inputs: dict[str, Any] = self._runner.get_input_details()

    @property
    def batch_size(self) -> int:
        """Rows a call."""
        shapes = [detail["shape"] for detail in self._inputs.values()]
        return int(shapes[0][0]) if len(shapes[0]) else 1

    def split(self, rows: Rows) -> Iterator[dict[str, np.ndarray]]:
        """The rows call by call, in their order, in the inputs' types.

        A last group that is too short is filled up with the first rows, so that every row is seen.

        Raises:
            CandidateError: If rows by name lack an input of the model.
        """
        named = rows if isinstance(rows, Mapping) else {next(iter(self._inputs)): rows}
        if missing := sorted(self._inputs.keys() - named.keys()):
            raise CandidateError(
                f"rows must be given for every input of the model, but {', '.join(missing)} is missing"
            )
        numbers = np.arange(row_count(rows))
        for start in range(0, len(numbers), self.batch_size):
            group = np.resize(numbers, start + self.batch_size)[start:]
            yield {name: np.asarray(named[name][group], detail["dtype"]) for name, detail in self._inputs.items()}

    def zeros(self) -> dict[str, np.ndarray]:
        """A call of nothing but zeros."""
        return {name: np.zeros(detail["shape"], detail["dtype"]) for name, detail in self._inputs.items()}

    def run(self, call: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of one call by name.

        Raises:
            CandidateError: If the interpreter refuses the call.
        """
        try:
            # Sequence kernels keep their state in variables, and a row is answered by itself.
            self.interpreter.reset_all_variables()
            return dict(self._runner(**call))
        except (ValueError, RuntimeError) as error:
            raise CandidateError(f"the file does not run: {_one_line(error)}") from error

    def tensors(self) -> Iterator[ModelTensor]:
        """Every tensor with values, of all graphs; they can be read only if they are preserved."""
        for graph in range(schema.Model.GetRootAs(self.content, 0).SubgraphsLength()):
            for detail in self.interpreter.get_tensor_details(graph):
                if detail["name"] and all(detail["shape"]):
                    read = partial(self.interpreter.get_tensor, detail["index"], graph)
                    yield ModelTensor(detail["name"], tuple(int(size) for size in detail["shape"]), read)

    def outputs(self, rows: Rows) -> dict[str, np.ndarray]:
        """The outputs of all rows by name, each of shape `(rows, ...)`."""
        answers = [self.run(call) for call in self.split(rows)]
        return {name: np.concatenate([answer[name] for answer in answers])[: row_count(rows)] for name in answers[0]}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
