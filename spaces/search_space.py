"""The space as a whole: which configurations there are, which cannot work, and which cannot differ."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from litefront.spaces.batch_size import BATCH_SIZE
from litefront.spaces.calibration import CALIBRATION, CALIBRATION_ROWS
from litefront.spaces.clustering import CLUSTERS
from litefront.spaces.delegate import DELEGATE, delegate_that_runs, threads_that_count
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.dimension import Capabilities, Dimension
from litefront.spaces.num_threads import NUM_THREADS
from litefront.spaces.quantization import QUANTIZATION
from litefront.spaces.sparsity import SPARSITY
from litefront.spaces.storage import STORAGE, storage_refusal

__all__ = ["DIMENSIONS", "SearchSpace", "canonical", "refusal"]

DIMENSIONS: dict[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        SPARSITY,
        CLUSTERS,
        QUANTIZATION,
        CALIBRATION,
        CALIBRATION_ROWS,
        STORAGE,
        DELEGATE,
        NUM_THREADS,
        BATCH_SIZE,
    )
}
"""Every dimension, in the order in which a candidate is built."""


@dataclass(frozen=True)
class SearchSpace:
    """The choices of every dimension.

    Attributes:
        choices: For each dimension's name its distinct choices, in the order of the study file.
    """

    choices: Mapping[str, tuple[Any, ...]]

    def size(self) -> int:
        """Number of configurations before validity and canonicalisation."""
        size = 1
        for choices in self.choices.values():
            size *= len(choices)
        return size

    def configurations(self) -> Iterator[DeploymentConfig]:
        """Every configuration, valid or not; the last dimension varies fastest."""
        for values in itertools.product(*self.choices.values()):
            yield DeploymentConfig(**dict(zip(self.choices, values, strict=True)))

    def cells(self, capabilities: Capabilities) -> list[DeploymentConfig]:
        """The distinct configurations that can work, each in its canonical form, in the order of the space."""
        valid = (config for config in self.configurations() if refusal(config, capabilities) is None)
        return list(dict.fromkeys(canonical(config) for config in valid))

    def refusals(self, capabilities: Capabilities) -> Counter[str]:
        """How many configurations each reason rules out before anything is spent."""
        reasons = (refusal(config, capabilities) for config in self.configurations())
        return Counter(reason for reason in reasons if reason is not None)


def refusal(config: DeploymentConfig, capabilities: Capabilities) -> str | None:
    """Why a configuration cannot work on this model and device, or None."""
    for name, dimension in DIMENSIONS.items():
        reason = dimension.refusal(getattr(config, name), capabilities)
        if reason is not None:
            return reason
    return storage_refusal(config.storage, config.quantization)


def canonical(config: DeploymentConfig) -> DeploymentConfig:
    """The one configuration that stands for all that cannot differ from this one: a cell."""
    delegate = delegate_that_runs(config.delegate, config.quantization)
    config = replace(config, delegate=delegate, num_threads=threads_that_count(delegate, config.num_threads))
    if not config.quantization.is_calibrated:
        config = replace(config, calibration=CALIBRATION.default, calibration_rows=CALIBRATION_ROWS.default)
    if not config.sparsity.leaves_zeros:
        config = replace(config, storage=STORAGE.default)
    return config
