"""Which weights of a model can have a pattern of zeros, and why the others cannot: known before anything is trained.

For models of tf_keras it is what `tensorflow-model-optimization` takes; for those of Keras 3 the same layers by name.
Biases, normalisations and depthwise kernels are left whole.

A kernel is looked at as the `.tflite` stores it, as a matrix of outputs by inputs: blocks are 4 neighbouring inputs of
one output, and n of m are counted among m neighbouring inputs. (Blocks of 4 neighbouring outputs would not be stored as
blocks: a sparsely stored layer of 256 x 256 weights, 80 % zeros, is 67.4 kB so, and 57.3 kB with blocks of inputs.)
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow
from litefront.spaces.training.fine_tuning import keras_of

__all__ = ["BLOCK", "prunable_layers", "pruning_refusal", "unprunable_layers"]

BLOCK = 4
"""Weights of a block."""

_UNSTRUCTURED = Sparsity()

# Of Keras 3, by the class's name: where the weights stand that `tensorflow-model-optimization` prunes in tf_keras.
_KERAS3_WEIGHTS = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Dense", "EinsumDense"), ("kernel",)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), ("kernel",)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("pointwise_kernel",)),
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM"), ("cell.kernel", "cell.recurrent_kernel")),
    "Embedding": ("embeddings",),
    "MultiHeadAttention": tuple(f"_{part}_dense.kernel" for part in ("query", "key", "value", "output")),
}


def prunable_layers(model: Any, sparsity: Sparsity = _UNSTRUCTURED) -> dict[str, list[Any]]:
    """The weights that can have a sparsity's pattern, by the name of their layer, those of nested models too.

    Args:
        model: The tf_keras or Keras 3 model.
        sparsity: Its pattern, and the m of `n:m`, are what counts; not `channel`.

    Returns:
        Empty if there are none.
    """
    found = {
        layer.name: [weight for weight in weights if _pattern_refusal(layer, weight, sparsity) is None]
        for layer, weights in _layers_of(model, keras_of(model))
    }
    return {name: weights for name, weights in found.items() if weights}


def unprunable_layers(model: Any, sparsity: Sparsity) -> dict[str, str]:
    """Why a layer that has weights to prune cannot have the pattern, by its name; depthwise layers are named too."""
    reasons: dict[str, str] = {}
    for layer, weights in _layers_of(model, keras_of(model)):
        refusals = [reason for weight in weights if (reason := _pattern_refusal(layer, weight, sparsity))]
        if refusals:
            reasons[layer.name] = refusals[0]
        elif not weights and any("kernel" in variable.name for variable in layer.weights):
            reasons[layer.name] = f"a {type(layer).__name__} is left whole"
    return reasons


def pruning_refusal(model: Any, sparsity: Sparsity) -> str | None:
    """Why nothing of the model can have the pattern, or None if something can."""
    if prunable_layers(model, sparsity):
        return None
    reasons = "; ".join(f"{name}: {reason}" for name, reason in unprunable_layers(model, sparsity).items())
    return "the model has no layer whose weights can be pruned" + (f" so ({reasons[:300]})" if reasons else "")


def _layers_of(model: Any, keras: ModuleType) -> Iterator[tuple[Any, list[Any]]]:
    """Every layer with the weights of it that magnitude pruning works on; none for one that is left whole."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer, keras)
        elif keras is import_keras():
            yield layer, _toolkit_weights(layer)
        else:
            known = type(layer) is getattr(keras.layers, type(layer).__name__, None)
            names = _KERAS3_WEIGHTS.get(type(layer).__name__, ()) if known else ()
            yield layer, [_attribute(layer, name) for name in names]


def _toolkit_weights(layer: Any) -> list[Any]:
    import_tensorflow()
    from tensorflow_model_optimization.python.core.sparsity.keras import prunable_layer, prune_registry

    registry = prune_registry.PruneRegistry
    if isinstance(layer, prunable_layer.PrunableLayer):
        return list(layer.get_prunable_weights())
    return list(registry.make_prunable(layer).get_prunable_weights()) if registry.supports(layer) else []


def _attribute(owner: Any, path: str) -> Any:
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


def _pattern_refusal(layer: Any, weight: Any, sparsity: Sparsity) -> str | None:
    """Why a weight tensor cannot have the pattern; Keras stores it with the inputs last but one, the outputs last."""
    if sparsity.pattern is Pattern.UNSTRUCTURED:
        return None
    kind, shape = type(layer).__name__, tuple(weight.shape)
    if kind == "Embedding":
        return "an embedding is looked up, so its weights are no neighbours in a product"
    block = sparsity.pattern is Pattern.BLOCK
    if block and len(shape) != 2:
        return f"blocks need a matrix of weights, but those of this {kind} have the shape {shape}"
    if "Transpose" in kind or len(shape) not in (2, 4):
        return f"n of m needs the kernel of a dense layer or a 2-D convolution, but this is a {kind} with shape {shape}"
    group = BLOCK if block else sparsity.of
    return None if shape[-2] % group == 0 else f"its {shape[-2]} inputs cannot be divided into groups of {group}"
