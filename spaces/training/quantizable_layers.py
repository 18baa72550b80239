"""Which layers of a tf_keras model can be trained with quantization in view, and why the others stay in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow

__all__ = ["LayerPlan", "float_layers", "plan_layers"]

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense")
"""Layers that a batch normalisation right behind them is folded into."""

_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
"""Not in the toolkit's registry: it splits them into two layers that are."""

_FUSED = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")
"""Activations that the toolkit rounds as an argument of a layer."""

_ALONE = (*_FUSED, "relu6")
"""Those that it rounds as layers of their own."""

_PASSING = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ActivityRegularization"),
    *("Flatten", "Reshape", "Permute", "ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D", "Cropping3D"),
    *("MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
)
"""Layers that only move or pick values, so that what they give has the range of what they take."""

_ROUNDED_OUTPUTS = ("LayerNormalization", "BatchNormalization", "Normalization", "Rescaling", "UnitNormalization")
"""Layers that stay in float, but whose output can be rounded, so that what they feed need not."""


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of each layer, by its name.

    Attributes:
        quantized: Layers that are trained with quantization in view.
        rounded_outputs: Layers in float whose output is rounded.
        in_float: Why each of the others, and of those, stays in float.
    """

    quantized: frozenset[str]
    rounded_outputs: frozenset[str]
    in_float: dict[str, str]


def float_layers(model: Any) -> dict[str, str]:
    """Why layers stay in float, by their names."""
    return plan_layers(model).in_float


def plan_layers(model: Any) -> LayerPlan:
    """Looks at each layer of a tf_keras model, Sequential or functional."""
    import_tensorflow()
    keras = import_keras()
    graph = _Graph(model)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    in_float = {layer.name: reason for layer in layers if (reason := graph.refusal(layer)) is not None}
    rounded: frozenset[str] = frozenset()
    # In the order in which they run: whether a layer's input has a range depends on the layers before.
    ranged = {tensor._keras_history.layer.name for tensor in model.inputs}
    for layer in layers:
        before = [found.name for found in graph.before(layer)]
        if layer.name in in_float:
            if graph.can_be_rounded(layer) and any(f.name not in in_float for f in graph.followers(layer)):
                rounded |= {layer.name}
                ranged.add(layer.name)
        elif type(layer).__name__ not in _PASSING:
            if _has_kernel(layer) and (unranged := [name for name in before if name not in ranged]):
                in_float[layer.name] = f"the values that it takes from {unranged[0]} have no range"
            else:
                ranged.add(layer.name)
        elif all(name in ranged for name in before):
            ranged.add(layer.name)
    return LayerPlan(frozenset(layer.name for layer in layers) - in_float.keys(), rounded, in_float)


class _Graph:
    """How the layers of a model hang together; a layer may be part of other models too, which do not count."""

    def __init__(self, model: Any) -> None:
        self._own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}

    def before(self, layer: Any) -> list[Any]:
        """The layers whose outputs it takes."""
        tf = import_tensorflow()
        return [found for node in self._uses(layer) for found in tf.nest.flatten(node.inbound_layers)]

    def followers(self, layer: Any) -> list[Any]:
        """The layers that take its output."""
        return [node.outbound_layer for node in layer._outbound_nodes if id(node) in self._own]

    def can_be_rounded(self, layer: Any) -> bool:
        """Whether the output of a layer in float can be rounded."""
        kinds = [getattr(import_keras().layers, name) for name in _ROUNDED_OUTPUTS]
        return type(layer) in kinds and len(self._uses(layer)) == 1

    def refusal(self, layer: Any) -> str | None:
        """Why the toolkit cannot take a layer as it is."""
        keras = import_keras()
        if isinstance(layer, keras.Model):
            return "it is a model within the model"
        uses = self._uses(layer)
        if len(uses) != 1:
            return f"it is used {len(uses)} times"
        keywords = import_tensorflow().nest.flatten(uses[0].call_kwargs)
        if any(isinstance(value, keras.__internal__.KerasTensor) for value in keywords):
            return "it takes a tensor by keyword, such as a mask"
        if type(layer) is keras.layers.BatchNormalization:
            return self._folding_refusal(layer)
        return _rule_refusal(layer)

    def _folding_refusal(self, normalisation: Any) -> str | None:
        before = self.before(normalisation)[0]
        if type(before).__name__ not in _CONVOLUTIONS or len(self.followers(before)) != 1:
            return "it does not stand alone behind a convolution or dense layer that it could be folded into"
        if _activation(before) != "linear":
            return f"it stands behind the activation of {before.name}, so that it cannot be folded into that"
        return self.refusal(before)

    def _uses(self, layer: Any) -> list[Any]:
        return [node for node in layer._inbound_nodes if id(node) in self._own]


def _rule_refusal(layer: Any) -> str | None:
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry

    kind = type(layer).__name__
    supported = default_8bit_quantize_registry.Default8BitQuantizeRegistry().supports(layer)
    if not supported and type(layer) not in [getattr(import_keras().layers, name) for name in _SEPARABLE]:
        return f"the quantization-aware training toolkit has no rule for {kind}"
    if (activation := _activation(layer)) not in (_ALONE if kind == "Activation" else _FUSED):
        return f"the quantization-aware training toolkit has no rule for the activation {activation}"
    return None


def _activation(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _has_kernel(layer: Any) -> bool:
    return any("kernel" in variable.name for variable in layer.weights)
