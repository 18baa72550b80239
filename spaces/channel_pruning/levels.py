"""How many channels each group loses: more where little is lost by it and much time is won."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.channel_pruning.channels import Labels
from litefront.spaces.channel_pruning.graph import ChannelGroup, ChannelGroups
from litefront.spaces.channel_pruning.settings import ChannelPruning

__all__ = ["GroupLimits", "channel_costs", "channels_to_remove", "group_limits", "multiply_accumulates"]

_TILES = ((64, 16), (32, 8), (16, 4), (4, 2))
"""(group size from which, channels): what is kept is a multiple of this, for the tiles of XNNPACK's kernels. On a
processor with AVX, 3 x 3 convolutions of 20 and 24 channels took as long as those of 32."""
_SMALL_TILE = 4
"""The same for what is kept of a group below one of these tiles."""


@dataclass(frozen=True)
class GroupLimits:
    """What may be kept of a group, by its size before anything was removed.

    Attributes:
        tile: What is kept is a multiple of this many channels.
        least: So many channels are kept at least.
    """

    tile: int
    least: int

    def allow(self, kept: int) -> bool:
        """Whether so many channels may be kept."""
        tile = self.tile if kept >= self.tile else min(self.tile, _SMALL_TILE)
        return kept >= self.least and kept % tile == 0


def channel_costs(model: Any, groups: ChannelGroups) -> NDArray[np.float64]:
    """What each channel costs at run time: the multiply-accumulates with its weights, and reading these once.

    Returns:
        Shape `(groups.numbers,)`, by the number of the channel.
    """
    costs = np.zeros(groups.numbers)
    for name, layer in groups.layers.items():
        weights = model.get_layer(name).weights
        for axis in layer.axes:
            shape = tuple(weights[axis.weight].shape)
            slice_size = math.prod(shape) / shape[axis.axis]
            costs += np.bincount(axis.labels, minlength=groups.numbers) * slice_size * (layer.positions + 1)
    return costs


def multiply_accumulates(model: Any, groups: ChannelGroups) -> int:
    """Multiply-accumulates of one row through the layers that were followed; sizes that are not known count as one."""
    total = 0
    for name, layer in groups.layers.items():
        weights = model.get_layer(name).weights
        kernels = {axis.weight for axis in layer.axes if len(weights[axis.weight].shape) > 1}
        total += sum(math.prod(weights[kernel].shape) for kernel in kernels) * layer.positions
    return total


def group_limits(groups: ChannelGroups, settings: ChannelPruning) -> dict[str, GroupLimits]:
    """What may be kept of each group of a model from which nothing was removed yet, by the group's name."""
    return {
        group.name: GroupLimits(_tile(group), max(1, math.ceil(group.size * settings.minimum_share)))
        for group in groups.groups
    }


def channels_to_remove(
    groups: ChannelGroups,
    importance: NDArray[np.float64],
    costs: NDArray[np.float64],
    *,
    features: float,
    limits: Mapping[str, GroupLimits],
    settings: ChannelPruning,
) -> Labels:
    """Chooses the channels that go.

    Args:
        groups: What can be removed.
        importance: Of each channel, by its number.
        costs: Of each channel, by its number.
        features: How many features should go.
        limits: What may be kept of each group, by its name.
        settings: How importance and cost are weighed.

    Returns:
        The numbers of the channels; whole tiles of each group, the least important first, as near to `features` as
        tiles and limits allow.
    """
    exponent = settings.cost_exponent if settings.by_loss else 0.0
    worth = importance / np.maximum(costs, 1.0) ** exponent
    blocks = [
        (worth[block].mean() / group.features ** (1 - exponent), block, group.features)
        for group in groups.groups
        for block in _blocks(group, worth, limits[group.name])
    ]
    chosen: list[Labels] = []
    left = features
    for _, block, block_features in sorted(blocks, key=lambda scored: float(scored[0])):
        size = len(block) * block_features
        if size / 2 <= left:
            chosen.append(block)
            left -= size
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def _blocks(group: ChannelGroup, worth: NDArray[np.float64], limits: GroupLimits) -> list[Labels]:
    """The group's channels that may go, the least worth first, in blocks that leave whole tiles."""
    ordered = group.channels[np.argsort(worth[group.channels], kind="stable")]
    ends = [end for end in range(1, group.size + 1) if limits.allow(group.size - end)]
    return [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _tile(group: ChannelGroup) -> int:
    # A head has its own size already.
    return 1 if group.features > 1 else next((tile for size, tile in _TILES if group.size >= size), 1)
