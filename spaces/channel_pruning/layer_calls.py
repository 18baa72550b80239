"""A Keras model as the calls of its layers, in the order in which they run; the same for tf_keras and Keras 3."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["LayerCall", "NotAGraphError", "TensorKey", "kind_of", "layer_calls", "output_keys", "tensor_key"]

TensorKey = tuple[int, int, int]
"""What tells a tensor of the graph from the others: the layer that made it, in which call, as which of its outputs."""


class NotAGraphError(Exception):
    """The model's layers are called by its own code, which cannot be followed."""


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer.

    Attributes:
        layer: The Keras layer, or whatever else Keras runs as a step of the graph.
        kind: The class name of one of Keras' own layers; empty for anything else.
        arguments: What it was called with, by the names of its parameters; graph tensors among them.
        inputs: The graph tensors among the arguments.
        outputs: The graph tensors that it gave.
        times_called: How often the model calls this layer.
    """

    layer: Any
    kind: str
    arguments: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    times_called: int

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.name)

    @property
    def described(self) -> str:
        """The layer as a reason names it."""
        return f"`{self.name}` ({type(self.layer).__name__})"


def kind_of(layer: Any) -> str:
    """The class name of one of Keras' own layers; empty for custom layers, nested models and plain operations."""
    library, *path = type(layer).__module__.split(".")
    own = library in ("keras", "tf_keras") and ("layers" in path or path[-1:] == ["input_layer"])
    return type(layer).__name__ if own else ""


def layer_calls(model: Any) -> list[LayerCall]:
    """The calls of a model's layers, each after those whose outputs it takes.

    Raises:
        NotAGraphError: If the model is not functional or sequential, or is not built yet.
    """
    nodes = list(_nodes(model))
    times_called = Counter(id(_layer(node)) for node in nodes)
    return [_call(node, times_called[id(_layer(node))]) for node in nodes]


def output_keys(model: Any) -> list[TensorKey]:
    """The tensors that the model gives."""
    return [tensor_key(tensor) for tensor in model.outputs]


def tensor_key(tensor: Any) -> TensorKey:
    """What tells this tensor from the others of its graph."""
    layer, call, output = tensor._keras_history
    return id(layer), int(call), int(output)


def _nodes(model: Any) -> Iterator[Any]:
    # A sequential model of Keras 3 keeps its graph in a functional model of its own.
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if not by_depth:
        raise NotAGraphError(f"`{model.name}` is no functional or sequential model that is built, but {type(model)!r}")
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def _layer(node: Any) -> Any:
    return node.operation if hasattr(node, "operation") else node.layer


def _call(node: Any, times_called: int) -> LayerCall:
    layer = _layer(node)
    if hasattr(node, "operation"):
        args, kwargs, inputs, outputs = (
            node.arguments.args,
            node.arguments.kwargs,
            node.input_tensors,
            node.output_tensors,
        )
    else:
        args, kwargs, inputs, outputs = node.call_args, node.call_kwargs, node.keras_inputs, _flat(node.outputs)
    kind = kind_of(layer)
    arguments = (
        {} if kind in ("", "InputLayer") else dict(inspect.signature(layer.call).bind(*args, **kwargs).arguments)
    )
    return LayerCall(layer, kind, arguments, tuple(inputs), tuple(outputs), times_called)


def _flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for part in outputs for tensor in _flat(part)]
    return [outputs]
