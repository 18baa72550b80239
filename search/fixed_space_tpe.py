"""Optuna's TPE over a space that never changes: no ask looks for the parameters that all trials have in common."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

__all__ = ["FixedSpaceTPESampler"]


class FixedSpaceTPESampler(TPESampler):
    """Optuna's multivariate TPE for studies whose trials all have the same parameters with the same distributions.

    It chooses all parameters at once: one look at the trials an ask in place of one a parameter.

    Args:
        distributions: The distribution of each parameter.
        seed: Of its random numbers.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], *, seed: int) -> None:
        super().__init__(seed=seed, multivariate=True)
        # A parameter with a single value is not modelled, as in Optuna's own.
        self._space = {
            name: distribution for name, distribution in sorted(distributions.items()) if not distribution.single()
        }

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space; Optuna's own compares the distributions of every trial to find it."""
        return dict(self._space)
