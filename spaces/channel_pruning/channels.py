"""Channels that go together: sets of features that are removed all at once or not at all.

A feature is one position of the last axis of a tensor in the graph. Features that meet in an addition, or that one
weight makes, are joined; what is left are sets of which each can be removed by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Channels", "Labels"]

Labels = NDArray[np.int64]
"""The features of an axis, shape `(size,)`: the number of the channel that each belongs to."""


class Channels:
    """Numbers of channels, which of them were joined, and which must stay."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._kept: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._parents)

    def new(self, count: int) -> Labels:
        """Makes channels of which each can still be removed by itself."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def join(self, first: Labels, second: Labels) -> None:
        """Lets the features of two axes of the same size go together, position by position."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            one, other = self._root(one), self._root(other)
            if one != other:
                self._parents[max(one, other)] = min(one, other)

    def keep(self, labels: Labels, reason: str) -> None:
        """Has these channels stay; the first reason that was given for one is the one that counts."""
        for channel in np.unique(labels).tolist():
            self._kept.setdefault(channel, reason)

    def roots(self) -> Labels:
        """For each number the lowest of those that it was joined with."""
        return np.array([self._root(channel) for channel in range(len(self._parents))], dtype=np.int64)

    def kept(self) -> dict[int, str]:
        """Why channels must stay, by the lowest number of those that each was joined with."""
        reasons: dict[int, str] = {}
        for channel, reason in self._kept.items():
            reasons.setdefault(self._root(channel), reason)
        return reasons

    def _root(self, channel: int) -> int:
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel
