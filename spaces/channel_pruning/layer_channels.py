"""What is written down of a layer whose features are followed: which axes of its weights hold which channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from litefront.spaces.channel_pruning.channels import Channels, Labels
from litefront.spaces.channel_pruning.layer_calls import LayerCall, TensorKey, tensor_key

__all__ = ["Following", "LayerChannels", "NotFollowedError", "Role", "WeightAxis"]


class NotFollowedError(Exception):
    """What a layer does with its features is not known; the message ends the sentence that starts with its name."""


class Role(StrEnum):
    """What an axis of a weight does for the features along it."""

    MAKES = "makes"
    """A slice gives a feature of the output."""
    TAKES = "takes"
    """A slice says what a feature of the input is worth: with zeros there, the feature might as well be gone."""
    FOLLOWS = "follows"
    """A slice changes a feature that it does not mix with others."""
    SCALES = "scales"
    """The same, of a normalised feature: it says how much the feature varies."""


@dataclass(frozen=True)
class WeightAxis:
    """The channels along one axis of a weight.

    Attributes:
        weight: Position in the layer's weights.
        axis: Axis of that weight.
        labels: The channel of each position along it.
        role: What its slices do.
        features: How many features of a tensor one position stands for: those of an attention head.
    """

    weight: int
    axis: int
    labels: Labels
    role: Role
    features: int = 1


@dataclass
class LayerChannels:
    """Everything of a layer that changes when channels go.

    Attributes:
        axes: The axes of its weights.
        sizes: The settings of its config that hold a number of features: by key, the channels that are counted.
        shapes: The same for settings that are shapes whose last size is a number of features.
        positions: Places of the output that its weights are applied to; for counting multiply-accumulates.
    """

    axes: list[WeightAxis] = field(default_factory=list)
    sizes: dict[str, Labels] = field(default_factory=dict)
    shapes: dict[str, Labels] = field(default_factory=dict)
    positions: int = 1


@dataclass(frozen=True)
class Following:
    """What a rule works on.

    Attributes:
        call: The call of the layer.
        labels: The features of the tensors that are known so far.
        channels: All channels of the model.
        layer: What the rule writes down of the layer.
        normalised_too: Whether features may go over which a layer normalisation averages.
    """

    call: LayerCall
    labels: Mapping[TensorKey, Labels]
    channels: Channels
    layer: LayerChannels
    normalised_too: bool

    def features(self, tensor: Any) -> Labels:
        """The features of a tensor."""
        return self.labels[tensor_key(tensor)]

    @property
    def input(self) -> Labels:
        """The features of the only input; a mask says which positions count, and has no features."""
        mask = self.call.arguments.get("mask")
        first, *others = (tensor for tensor in self.call.inputs if tensor is not mask)
        if others:
            raise NotFollowedError(f"takes {1 + len(others)} tensors")
        return self.features(first)

    def setting(self, name: str, default: Any = None) -> Any:
        """An attribute of the layer."""
        return getattr(self.call.layer, name, default)

    def axis(self, variable: Any, axis: int, labels: Labels, role: Role, *, features: int = 1) -> None:
        """Writes down the channels along an axis of one of the layer's weights, which may be None."""
        if variable is None:
            return
        shape = tuple(variable.shape)
        if shape[axis] != len(labels):
            raise NotFollowedError(f"has a weight of shape {shape} where {len(labels)} features are expected")
        position = next(i for i, weight in enumerate(self.call.layer.weights) if weight is variable)
        self.layer.axes.append(WeightAxis(position, axis % len(shape), labels, role, features))
