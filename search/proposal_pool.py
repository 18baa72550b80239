"""Proposals that were asked ahead, of which the cheapest of those that promise most is taken first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["ProposalPool"]

# A cell costs its dispatch at least, even if all its stages are there.
_LEAST_COST_S = 0.1
# What promises this share of the most is as good: the promise is a guess.
_SIMILAR = 0.7


class _OfConfig(Protocol):
    @property
    def config(self) -> DeploymentConfig: ...


T = TypeVar("T", bound=_OfConfig)

Promises = Callable[[Sequence[DeploymentConfig]], NDArray[np.float64] | None]


class ProposalPool(Generic[T]):
    """A few proposals that the sampler would have taken next, in any order.

    Cost and promise are asked for anew each time: a cell gets cheaper as others build what they share with it, and it
    promises less once a neighbour is measured. The cheapest is taken of those whose promise is similar to the highest.
    The most gain a second (Snoek, Larochelle and Adams, "Practical Bayesian optimization of machine learning
    algorithms", NIPS 2012, section 3.2) was slower: it puts off what many later cells share. If none promises
    anything, or as long as nothing is known of promises, the cheapest of all is taken.

    Args:
        promises: What cells promise, 0 if they are not expected to enter the front, shape `(cells,)`; None if nothing
            is known.
        cost_s: What a cell would cost now, in seconds; None counts all alike.
        size: Proposals that are asked ahead.
        patience: How often a proposal is passed over before it goes first, whatever it promises or costs.
    """

    def __init__(
        self,
        promises: Promises,
        cost_s: Callable[[DeploymentConfig], float] | None,
        *,
        size: int,
        patience: int,
    ) -> None:
        self._promises = promises
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
        """The proposal whose turn it is; the oldest of equally good ones; None if there is none."""
        if not self._waiting:
            return None
        starving = [index for index, (_, passed_over) in enumerate(self._waiting) if passed_over >= self._patience]
        index = starving[0] if starving else self._best()
        proposal, _ = self._waiting.pop(index)
        self._waiting = [(other, passed_over + 1) for other, passed_over in self._waiting]
        return proposal

    def _best(self) -> int:
        configs = [proposal.config for proposal, _ in self._waiting]
        costs_s = np.array([max(self._cost_s(config), _LEAST_COST_S) if self._cost_s else 0.0 for config in configs])
        promises = self._promises(configs)
        if promises is None or not np.any(promises > 0):
            return int(np.argmin(costs_s))
        similar = np.flatnonzero(promises >= _SIMILAR * promises.max())
        return int(min(similar, key=lambda index: (costs_s[index], -promises[index])))
