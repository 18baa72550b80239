"""Which channels of a model can be removed, and which must go together: its dependency graph.

Fang et al., "DepGraph: Towards Any Structural Pruning", arXiv 2301.12900, find groups of coupled layers; here single
features are followed through the graph instead, which covers concatenation, flattening and attention heads alike.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from litefront.spaces.channel_pruning.channels import Channels, Labels
from litefront.spaces.channel_pruning.layer_calls import (
    LayerCall,
    NotAGraphError,
    TensorKey,
    layer_calls,
    output_keys,
    tensor_key,
)
from litefront.spaces.channel_pruning.layer_channels import Following, LayerChannels, NotFollowedError, Role
from litefront.spaces.channel_pruning.layer_rules import RULES

__all__ = ["ChannelGroup", "ChannelGroups", "channel_groups"]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are alike: each can be removed by itself, and changes the same weights.

    Attributes:
        name: The layer that makes them, the first of those in the graph's order.
        layers: The layers whose weights become smaller.
        channels: The numbers of the channels, shape `(size,)`.
        features: How many features of a tensor a channel stands for: one, or those of an attention head.
    """

    name: str
    layers: tuple[str, ...]
    channels: Labels
    features: int

    @property
    def size(self) -> int:
        """How many channels there are."""
        return len(self.channels)


@dataclass(frozen=True)
class ChannelGroups:
    """What can be removed from a model.

    Attributes:
        groups: The channels that can go; empty if none can.
        whole: Why a layer, by name, loses none of the features that it makes.
        layers: What changes in each layer when channels go.
        numbers: How many numbers of channels there are, those of the channels that stay among them.
    """

    groups: tuple[ChannelGroup, ...]
    whole: dict[str, str]
    layers: dict[str, LayerChannels]
    numbers: int

    @property
    def features(self) -> int:
        """How many features can be removed, a head counted by its size."""
        return sum(group.size * group.features for group in self.groups)


@dataclass
class _Walk:
    """The state of the analysis while it goes through the model's calls."""

    normalised_too: bool
    channels: Channels = field(default_factory=Channels)
    labels: dict[TensorKey, Labels] = field(default_factory=dict)
    layers: dict[str, LayerChannels] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)

    def follow(self, call: LayerCall) -> None:
        if call.kind == "InputLayer":
            self._give(call, f"come from the model's input `{call.name}`")
            return
        layer = LayerChannels()
        try:
            made = _rule(call)(Following(call, self.labels, self.channels, layer, self.normalised_too))
            if len(made) != _features(call.outputs[0]):
                raise NotFollowedError(f"gives a tensor of shape {tuple(call.outputs[0].shape)}")
        except NotFollowedError as refusal:
            self._leave_whole(call, str(refusal))
            return
        self.labels[tensor_key(call.outputs[0])] = made
        self.layers[call.name] = layer

    def _give(self, call: LayerCall, reason: str) -> None:
        for tensor in call.outputs:
            made = self.channels.new(_features(tensor))
            self.channels.keep(made, reason)
            self.labels[tensor_key(tensor)] = made

    def _leave_whole(self, call: LayerCall, refusal: str) -> None:
        for tensor in call.inputs:
            self.channels.keep(self.labels[tensor_key(tensor)], f"reach {call.described}, which {refusal}")
        self._give(call, f"come from {call.described}, which {refusal}")
        if call.layer.weights if hasattr(call.layer, "weights") else ():
            self.whole[call.name] = f"it {refusal}"


def channel_groups(model: Any, *, normalised_too: bool = False) -> ChannelGroups:
    """Finds what can be removed from a model, without running it.

    Args:
        model: A tf_keras or Keras 3 model, functional or sequential, built.
        normalised_too: Whether features may go over which a layer normalisation averages; what is left is then
            normalised by other statistics, so that removing a feature is more than setting it to zero.

    Returns:
        The groups of channels that can go, and why the other layers are left whole.
    """
    walk = _Walk(normalised_too)
    try:
        calls = layer_calls(model)
    except NotAGraphError as refusal:
        return ChannelGroups((), {str(model.name): str(refusal)}, {}, 0)
    for call in calls:
        walk.follow(call)
    for key in output_keys(model):
        walk.channels.keep(walk.labels[key], "are the model's output")
    return _grouped(walk)


def _rule(call: LayerCall) -> Any:
    rule = RULES.get(call.kind)
    if rule is None:
        raise NotFollowedError("is of a kind that cannot be followed")
    if call.times_called > 1 and (call.layer.weights or call.kind == "Reshape"):
        raise NotFollowedError(f"is called {call.times_called} times")
    return rule


def _features(tensor: Any) -> int:
    """Size of a tensor's last axis; 0 where it has no axis of known size beside the batch."""
    return int(tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


def _grouped(walk: _Walk) -> ChannelGroups:
    roots, kept = walk.channels.roots(), walk.channels.kept()
    layers = {name: _rooted(layer, roots) for name, layer in walk.layers.items()}
    places: defaultdict[int, list[tuple[str, int, int]]] = defaultdict(list)
    features: defaultdict[int, int] = defaultdict(lambda: 1)
    taken: set[int] = set()
    for name, layer in layers.items():
        for number, axis in enumerate(layer.axes):
            for channel, count in zip(
                *(part.tolist() for part in np.unique(axis.labels, return_counts=True)), strict=True
            ):
                places[channel].append((name, number, count))
                if axis.role is Role.MAKES:
                    features[channel] = max(features[channel], axis.features)
            if axis.role is Role.TAKES:
                taken |= set(axis.labels.tolist())
    alike: defaultdict[tuple[tuple[str, int, int], ...], list[int]] = defaultdict(list)
    for channel in sorted(taken.difference(kept)):
        alike[tuple(places[channel])].append(channel)
    groups = tuple(_group(where, channels, features[channels[0]]) for where, channels in alike.items())
    return ChannelGroups(_distinct(groups), walk.whole | _kept_layers(layers, kept), layers, len(roots))


def _rooted(layer: LayerChannels, roots: Labels) -> LayerChannels:
    return LayerChannels(
        [replace(axis, labels=roots[axis.labels]) for axis in layer.axes],
        {key: roots[labels] for key, labels in layer.sizes.items()},
        {key: roots[labels] for key, labels in layer.shapes.items()},
        layer.positions,
    )


def _group(places: tuple[tuple[str, int, int], ...], channels: list[int], features: int) -> ChannelGroup:
    layers = tuple(dict.fromkeys(name for name, *_ in places))
    return ChannelGroup(layers[0], layers, np.array(channels, dtype=np.int64), features)


def _distinct(groups: tuple[ChannelGroup, ...]) -> tuple[ChannelGroup, ...]:
    """Tells groups of one layer apart: those of an attention layer's heads and of its features, for one."""
    seen: defaultdict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        seen[group.name] += 1
        named.append(group if seen[group.name] == 1 else replace(group, name=f"{group.name}:{seen[group.name]}"))
    return tuple(named)


def _kept_layers(layers: dict[str, LayerChannels], kept: dict[int, str]) -> dict[str, str]:
    """Why layers that make features lose none of them."""
    whole = {}
    for name, layer in layers.items():
        made = {channel for axis in layer.axes if axis.role is Role.MAKES for channel in axis.labels.tolist()}
        if made and made <= kept.keys():
            whole[name] = f"its features {kept[min(made)]}"
    return whole
