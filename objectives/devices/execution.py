"""How a candidate is run, as the runner's request says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litefront.objectives.devices.device import Candidate

__all__ = ["DelegateOptions", "execution"]

DelegateOptions = Mapping[str, Mapping[str, Any]]
"""What a device's entry in the study says of its delegates, by the delegate's name."""


def execution(candidate: Candidate, delegates: DelegateOptions) -> dict[str, Any]:
    """What the runner must know to load a candidate.

    Args:
        candidate: The file, and the configuration that it is run with.
        delegates: The device's delegate options.
    """
    delegate = candidate.config.delegate.value
    return {
        "model": str(candidate.model),
        "delegate": delegate,
        "delegate_options": dict(delegates.get(delegate, {})),
        "num_threads": candidate.config.num_threads,
    }
