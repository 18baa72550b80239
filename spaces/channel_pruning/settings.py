"""How channels are chosen and removed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ChannelPruning", "Importance"]


class Importance(StrEnum):
    """What a channel is judged by; the values are the names in tasks."""

    NORM = "norm"
    """The Euclidean norm of the weights that make it (Li et al., "Pruning Filters for Efficient ConvNets", arXiv
    1608.08710, with their L1 norm)."""
    BATCH_NORM = "batch_norm"
    """The scale of its batch normalisation (Liu et al., "Network Slimming", arXiv 1708.06519); its norm without one."""
    TAYLOR = "taylor"
    """What the loss on training data would change without it, to first order (Molchanov et al., "Importance Estimation
    for Neural Network Pruning", arXiv 1906.10771)."""


@dataclass(frozen=True)
class ChannelPruning:
    """How channels are chosen and removed.

    Attributes:
        importance: What a channel is judged by.
        iterations: In how many steps the channels go, with training after each; the share that is kept falls by the
            same factor in each.
        rows: Training rows that the Taylor term is measured on.
        cost_exponent: The Taylor term is divided by the multiply-accumulates of a channel to this power: 0 only looks
            at what is lost, 1 at what is lost for the time that is won. Norms are no losses, and are not divided.
        minimum_share: Share of its channels that every group keeps.
        normalised_too: Whether features may go over which a layer normalisation averages. What is left is then
            normalised by other statistics, so that even a feature that is always zero is missed.
        seed: Of which rows are taken.
    """

    importance: Importance = Importance.TAYLOR
    iterations: int = 3
    rows: int = 512
    cost_exponent: float = 1.0
    minimum_share: float = 0.1
    normalised_too: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "importance", Importance(self.importance))
        if self.iterations < 1 or self.rows < 1:
            raise ValueError(f"`iterations >= 1` and `rows >= 1` must hold, but got {self}.")
        if not 0 <= self.cost_exponent <= 2 or not 0 <= self.minimum_share < 1:
            raise ValueError(f"`0 <= cost_exponent <= 2` and `0 <= minimum_share < 1` must hold, but got {self}.")

    @property
    def by_loss(self) -> bool:
        """Whether importance is a change of the loss."""
        return self.importance is Importance.TAYLOR
