"""Sparsity: which weights are taken from the model, in which pattern and how many.

A pattern is worth what the runtime makes of it. Single zeros make a file smaller once it is deflated or stored
sparsely; removed channels make the graph itself smaller, so that every delegate gains.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from litefront.spaces.dimension import Capabilities, Dimension

__all__ = ["DENSE", "SPARSITY", "Pattern", "Sparsity", "pruning_path"]


class Pattern(StrEnum):
    """Which weights go together; the values are the names in study files and bundles."""

    UNSTRUCTURED = "unstructured"
    """Single weights."""
    BLOCK = "block"
    """Blocks of 1 x 4 weights of a matrix."""
    N_OF_M = "n:m"
    """So many of every m neighbouring weights."""
    CHANNEL = "channel"
    """Whole channels, filters, attention heads and feed-forward units: they are removed from the graph."""


@dataclass(frozen=True, order=True)
class Sparsity:
    """One choice of the dimension.

    Attributes:
        level: Fraction of the prunable weights set to zero, or of the removable channels removed; in [0, 1).
        pattern: Which weights go together.
        of: For `n:m` the m; 0 otherwise.
    """

    level: float = 0.0
    pattern: Pattern = Pattern.UNSTRUCTURED
    of: int = 0

    @property
    def value(self) -> float | str:
        """The choice as study files and params have it: `0.5`, `"channel:0.5"`, `"2:4"`."""
        if self.pattern is Pattern.UNSTRUCTURED:
            return self.level
        if self.pattern is Pattern.N_OF_M:
            return f"{round(self.level * self.of)}:{self.of}"
        return f"{self.pattern}:{self.level:g}"

    def __str__(self) -> str:
        """The choice as readers see it."""
        return f"{self.value:g}" if isinstance(self.value, float) else self.value

    def __bool__(self) -> bool:
        """Whether anything is taken from the model."""
        return self.level > 0

    @property
    def leaves_zeros(self) -> bool:
        """Whether zeros stay in the weights, rather than what was taken being gone."""
        return self.level > 0 and self.pattern is not Pattern.CHANNEL

    @classmethod
    def parse(cls, value: object) -> Sparsity:
        """Reads one choice.

        Raises:
            ValueError: If it is none; the message says what a choice looks like.
        """
        if isinstance(value, Sparsity):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1:
            return cls(float(value))
        if isinstance(value, str):
            if (n_of_m := re.fullmatch(r"([1-9]\d*):([1-9]\d*)", value)) and int(n_of_m[1]) < int(n_of_m[2]):
                return cls(int(n_of_m[1]) / int(n_of_m[2]), Pattern.N_OF_M, int(n_of_m[2]))
            named = re.fullmatch(r"(block|channel): ?(0?\.\d+)", value)
            if named and float(named[2]) > 0:
                return cls(float(named[2]), Pattern(named[1]))
        raise ValueError(
            "`sparsity` must be a fraction in [0, 1) of single weights, or a pattern in quotes with such a fraction "
            f'above 0 ("block:0.5", "channel:0.5"), or n zeros of m ("2:4"), but got {value!r}.'
        )


DENSE = Sparsity()
"""Nothing is taken from the model."""


def pruning_path(sparsity: Sparsity, sparsities: Collection[Sparsity], *, continued: bool) -> list[tuple[float, float]]:
    """The prunings that lead from the base model to a sparsity.

    Args:
        sparsity: Where it ends; level 0 needs no pruning.
        sparsities: All sparsities of the study's space.
        continued: Whether each starts from the next lower level of its pattern instead of from the base model.

    Returns:
        For each pruning the level that it starts from, 0 for the base model, and the one that it ends at.
    """
    if not sparsity:
        return []
    lower: list[float] = []
    # A pattern of n of m is no step on the way to another one: their masks have little in common.
    if continued and sparsity.pattern is not Pattern.N_OF_M:
        alike = (other.level for other in sparsities if other.pattern is sparsity.pattern)
        lower = sorted(level for level in alike if 0 < level < sparsity.level)
    return list(pairwise((0.0, *lower, sparsity.level)))


def _refusal(sparsity: Sparsity, capabilities: Capabilities) -> str | None:
    return capabilities.pruning_refusals.get(sparsity.pattern) if sparsity else None


SPARSITY = Dimension("sparsity", default=DENSE, parse=Sparsity.parse, refusal=_refusal)
