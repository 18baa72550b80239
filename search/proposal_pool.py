"""Proposals that were asked ahead, of which the cheapest is taken first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["ProposalPool"]


class _OfConfig(Protocol):
    @property
    def config(self) -> DeploymentConfig: ...


T = TypeVar("T", bound=_OfConfig)


class ProposalPool(Generic[T]):
    """A few proposals of similar promise: the sampler would have taken any of them next.

    What a proposal costs is asked anew each time, since it falls as others build the parts that they share.

    Args:
        cost_s: What a cell would cost now, in seconds.
        size: Proposals that are asked ahead.
        patience: How often a proposal is passed over before it goes first, whatever it costs.
    """

    def __init__(self, cost_s: Callable[[DeploymentConfig], float], *, size: int, patience: int) -> None:
        self._cost_s = cost_s
        self._size = size
        self._patience = patience
        # Oldest first, each with how often it was passed over.
        self._waiting: list[tuple[T, int]] = []

    @property
    def is_full(self) -> bool:
        """Whether no proposal more is to be asked ahead."""
        return len(self._waiting) >= self._size

    def add(self, proposal: T) -> None:
        """Has a proposal wait for its turn."""
        self._waiting.append((proposal, 0))

    def take(self) -> T | None:
        """The proposal whose turn it is; the oldest of equally cheap ones; None if there is none."""
        if not self._waiting:
            return None
        starving = [index for index, (_, passed_over) in enumerate(self._waiting) if passed_over >= self._patience]
        index = starving[0] if starving else self._cheapest()
        proposal, _ = self._waiting.pop(index)
        self._waiting = [(other, passed_over + 1) for other, passed_over in self._waiting]
        return proposal

    def _cheapest(self) -> int:
        return min(range(len(self._waiting)), key=lambda index: self._cost_s(self._waiting[index][0].config))
