"""Structured pruning: whole channels, filters, attention heads and feed-forward units are removed from the graph."""

from litefront.spaces.channel_pruning.graph import ChannelGroup, ChannelGroups, channel_groups
from litefront.spaces.channel_pruning.pruning import PrunedChannels, prune_channels
from litefront.spaces.channel_pruning.settings import ChannelPruning, Importance

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "ChannelPruning",
    "Importance",
    "PrunedChannels",
    "channel_groups",
    "prune_channels",
]
