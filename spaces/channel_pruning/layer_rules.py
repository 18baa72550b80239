"""What each kind of Keras layer does with channels: one rule a kind, found by the name of its class.

A rule says which axes of the layer's weights hold the features of its inputs and outputs, which settings hold their
number, and which features its output has. What no rule follows is left whole, with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from litefront.spaces.channel_pruning.channels import Labels
from litefront.spaces.channel_pruning.layer_channels import Following, NotFollowedError, Role

__all__ = ["RULES", "is_elementwise"]

Rule = Callable[[Following], Labels]

# Activations that work on each feature by itself.
_ELEMENTWISE = """
    linear relu relu6 leaky_relu elu selu celu gelu sigmoid hard_sigmoid log_sigmoid tanh hard_tanh tanh_shrink
    hard_shrink soft_shrink softplus softsign squareplus exponential swish silu hard_swish hard_silu mish
"""


def is_elementwise(activation: Any) -> bool:
    """Whether an activation works on each feature by itself, as far as is known."""
    if activation is None:
        return True
    name = getattr(activation, "__name__", "") or type(activation).__name__.lower()
    library = (getattr(activation, "__module__", None) or "").split(".")[0]
    return library in ("keras", "tf_keras", "tensorflow") and name in _ELEMENTWISE.split()


def _pass(following: Following) -> Labels:
    return following.input


def _activation(following: Following) -> Labels:
    return _activated(following, following.input)


def _activated(following: Following, features: Labels) -> Labels:
    activation = following.setting("activation")
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        following.channels.keep(features, f"go through the activation {name} of {following.call.described}")
    return features


def _check_channels_last(following: Following) -> None:
    if following.setting("data_format") == "channels_first":
        raise NotFollowedError("has its channels first")


def _spatial(following: Following) -> Labels:
    _check_channels_last(following)
    return following.input


def _positions(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape[1:-1] if size is not None)


def _new_features(following: Following, setting: str) -> Labels:
    made = following.channels.new(int(following.setting(setting)))
    following.layer.sizes[setting] = made
    following.layer.positions = _positions(following.call.outputs[0])
    return made


def _convolution(following: Following, takes: int = -2, makes: int = -1) -> Labels:
    _check_channels_last(following)
    if following.setting("groups", 1) != 1:
        raise NotFollowedError("is a grouped convolution")
    taken, made = following.input, _new_features(following, "filters")
    following.axis(following.setting("kernel"), takes, taken, Role.TAKES)
    following.axis(following.setting("kernel"), makes, made, Role.MAKES)
    following.axis(following.setting("bias"), 0, made, Role.FOLLOWS)
    return _activated(following, made)


def _transposed_convolution(following: Following) -> Labels:
    made = _convolution(following, takes=-1, makes=-2)
    following.layer.positions = _positions(following.call.inputs[0])
    return made


def _depthwise_convolution(following: Following) -> Labels:
    _check_channels_last(following)
    kernel = following.setting("depthwise_kernel")
    kernel = following.setting("kernel") if kernel is None else kernel
    # Feature c of the input becomes the features c * m to c * m + m - 1 of the output.
    made = np.repeat(following.input, int(following.setting("depth_multiplier")))
    following.layer.positions = _positions(following.call.outputs[0])
    following.axis(kernel, -2, following.input, Role.FOLLOWS)
    following.axis(following.setting("bias"), 0, made, Role.FOLLOWS)
    return _activated(following, made)


def _separable_convolution(following: Following) -> Labels:
    _check_channels_last(following)
    taken, made = following.input, _new_features(following, "filters")
    between = np.repeat(taken, int(following.setting("depth_multiplier")))
    following.axis(following.setting("depthwise_kernel"), -2, taken, Role.FOLLOWS)
    following.axis(following.setting("pointwise_kernel"), -2, between, Role.TAKES)
    following.axis(following.setting("pointwise_kernel"), -1, made, Role.MAKES)
    following.axis(following.setting("bias"), 0, made, Role.FOLLOWS)
    return _activated(following, made)


def _dense(following: Following) -> Labels:
    taken, made = following.input, _new_features(following, "units")
    following.axis(following.setting("kernel"), 0, taken, Role.TAKES)
    following.axis(following.setting("kernel"), 1, made, Role.MAKES)
    following.axis(following.setting("bias"), 0, made, Role.FOLLOWS)
    return _activated(following, made)


def _embedding(following: Following) -> Labels:
    made = _new_features(following, "output_dim")
    following.layer.positions = 0
    following.axis(following.setting("embeddings"), 1, made, Role.MAKES)
    return made


def _is_last_axis(following: Following, axis: Any) -> bool:
    axes = [axis] if isinstance(axis, int) else list(axis)
    rank = len(following.call.inputs[0].shape)
    return [int(one) % rank for one in axes] == [rank - 1]


def _batch_normalization(following: Following) -> Labels:
    if not _is_last_axis(following, following.setting("axis")):
        raise NotFollowedError("normalises another axis than the last")
    following.axis(following.setting("gamma"), 0, following.input, Role.SCALES)
    for name in ("beta", "moving_mean", "moving_variance"):
        following.axis(following.setting(name), 0, following.input, Role.FOLLOWS)
    return following.input


def _layer_normalization(following: Following) -> Labels:
    if not _is_last_axis(following, following.setting("axis")):
        raise NotFollowedError("normalises other axes than the last")
    for name in ("gamma", "beta"):
        following.axis(following.setting(name), 0, following.input, Role.FOLLOWS)
    if not following.normalised_too:
        following.channels.keep(following.input, f"are averaged over by {following.call.described}")
    return following.input


def _prelu(following: Following) -> Labels:
    alpha = following.setting("alpha")
    if alpha.shape[-1] != 1 or len(following.input) == 1:
        following.axis(alpha, -1, following.input, Role.FOLLOWS)
    return following.input


def _merge(following: Following) -> Labels:
    first, *others = (following.features(tensor) for tensor in _merged(following))
    if len({len(tensor.shape) for tensor in following.call.inputs}) > 1:
        raise NotFollowedError("merges tensors of different ranks")
    for other in others:
        if len(other) != len(first):
            raise NotFollowedError("spreads one feature over many")
        following.channels.join(first, other)
    return first


def _merged(following: Following) -> list[Any]:
    tensors = next(iter(following.call.arguments.values()))
    if not isinstance(tensors, list | tuple) or len(tensors) != len(following.call.inputs):
        raise NotFollowedError("merges something that is not in the graph")
    return list(tensors)


def _concatenate(following: Following) -> Labels:
    tensors = _merged(following)
    if _is_last_axis(following, following.setting("axis")):
        return np.concatenate([following.features(tensor) for tensor in tensors])
    return _merge(following)


def _reshape(following: Following) -> Labels:
    _check_channels_last(following)
    taken = following.input
    before, after = following.call.inputs[0].shape[1:], following.call.outputs[0].shape[1:]
    if len(before) == 0 or len(after) == 0:
        raise NotFollowedError("reshapes a tensor without features")
    if after[-1] != before[-1]:
        if None in before or None in after:
            raise NotFollowedError("reshapes sizes that are not known")
        taken = _reshaped(following, tuple(before), tuple(after))
    if following.call.kind == "Reshape" and following.setting("target_shape")[-1] != -1:
        following.layer.shapes["target_shape"] = taken
    return taken


def _reshaped(following: Following, before: tuple[int, ...], after: tuple[int, ...]) -> Labels:
    """The features of the new last axis; those at other places of it go together with them."""
    spread = np.broadcast_to(following.input, before).reshape(-1, after[-1])
    for row in np.unique(spread, axis=0)[1:]:
        following.channels.join(spread[0], row)
    return np.array(spread[0])


def _permute(following: Following) -> Labels:
    dims = following.setting("dims")
    if dims[-1] != len(dims):
        raise NotFollowedError("moves the features to another axis")
    return following.input


def _rescaling(following: Following) -> Labels:
    if np.ndim(following.setting("scale")) or np.ndim(following.setting("offset")):
        raise NotFollowedError("scales each feature by a number of its own")
    return following.input


def _softmax(following: Following) -> Labels:
    rank = len(following.call.inputs[0].shape)
    axis = following.setting("axis")
    if rank - 1 in [int(one) % rank for one in ([axis] if isinstance(axis, int) else axis)]:
        raise NotFollowedError("mixes its features")
    return following.input


def _attention(following: Following) -> Labels:
    layer, arguments = following.call.layer, following.call.arguments
    if len(following.call.outputs) != 1:
        raise NotFollowedError("gives its attention scores as well")
    if getattr(layer, "_use_gate", False):
        raise NotFollowedError("gates its output")
    mask = arguments.get("attention_mask")
    if mask is not None and len(mask.shape) > 3:
        raise NotFollowedError("has an attention mask with a part for each head")
    query, value = following.features(arguments["query"]), following.features(arguments["value"])
    key = value if arguments.get("key") is None else following.features(arguments["key"])
    heads, made = following.channels.new(layer._num_heads), following.channels.new(layer._output_dense.kernel.shape[-1])
    value_dim = int(layer._value_dense.kernel.shape[-1])
    for dense, taken in ((layer._query_dense, query), (layer._key_dense, key), (layer._value_dense, value)):
        following.axis(dense.kernel, 0, taken, Role.TAKES)
        following.axis(dense.kernel, 1, heads, Role.MAKES, features=value_dim)
        following.axis(dense.bias, 0, heads, Role.FOLLOWS)
    following.axis(layer._output_dense.kernel, 0, heads, Role.TAKES)
    following.axis(layer._output_dense.kernel, -1, made, Role.MAKES)
    following.axis(layer._output_dense.bias, 0, made, Role.FOLLOWS)
    following.layer.positions = _positions(following.call.outputs[0])
    following.layer.sizes["num_heads"] = heads
    following.layer.shapes |= {"output_shape": made, "query_shape": query, "key_shape": key, "value_shape": value}
    return made


def _for_each(kinds: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(kinds.split(), rule)


def _of_each_rank(kinds: str, rule: Rule) -> dict[str, Rule]:
    return {f"{kind}{rank}D": rule for kind in kinds.split() for rank in (1, 2, 3)}


RULES: Mapping[str, Rule] = {
    **_for_each("Conv1D Conv2D Conv3D", _convolution),
    **_for_each("Conv1DTranspose Conv2DTranspose Conv3DTranspose", _transposed_convolution),
    **_for_each("DepthwiseConv1D DepthwiseConv2D", _depthwise_convolution),
    **_for_each("SeparableConv1D SeparableConv2D", _separable_convolution),
    **_for_each("Dense", _dense),
    **_for_each("Embedding", _embedding),
    **_for_each("BatchNormalization", _batch_normalization),
    **_for_each("LayerNormalization", _layer_normalization),
    **_for_each("PReLU", _prelu),
    **_for_each("Add Subtract Multiply Average Maximum Minimum", _merge),
    **_for_each("Concatenate", _concatenate),
    **_for_each("Flatten Reshape", _reshape),
    **_for_each("Permute", _permute),
    **_for_each("Rescaling", _rescaling),
    **_for_each("Softmax", _softmax),
    **_for_each("MultiHeadAttention", _attention),
    **_for_each("Activation", _activation),
    **_for_each("ReLU LeakyReLU ELU ThresholdedReLU Identity RepeatVector ActivityRegularization", _pass),
    **_for_each("Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D", _pass),
    **_for_each("GaussianNoise GaussianDropout AlphaDropout", _pass),
    **_of_each_rank("MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling", _spatial),
    **_of_each_rank("ZeroPadding Cropping UpSampling", _spatial),
}
"""The rules by the names of Keras' layers."""
