"""Weight clustering: how many distinct values the weights of a tensor may take.

A tensor of few values deflates well. The file as stored stays as large, and calls take as long.
"""

from __future__ import annotations

from litefront.spaces.dimension import Capabilities, Dimension

__all__ = ["CLUSTERS"]


def _parse(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value == 1:
        raise ValueError(f"`clusters` must be 0 for none, or a whole number of at least 2, but got {value!r}.")
    return value


def _refusal(clusters: int, capabilities: Capabilities) -> str | None:
    return capabilities.clustering_refusal if clusters else None


CLUSTERS = Dimension("clusters", default=0, parse=_parse, refusal=_refusal)
