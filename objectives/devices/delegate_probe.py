"""Finds out which delegates a device has: each runs a tiny model for real, in a runner's process of its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from litefront.objectives.devices.device import BUILT_IN, DelegateFacts
from litefront.objectives.devices.execution import DelegateOptions
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError

__all__ = ["Ask", "probe_delegates"]

# A driver may compile its kernels first.
_TIMEOUT_S = 30.0


class Ask(Protocol):
    """Sends a request to a device's runner, and gives its reply."""

    def __call__(self, request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
        """Raises CandidateError if the runner refuses, crashes or hangs."""
        ...


def probe_delegates(
    delegates: Collection[Delegate], options: DelegateOptions, ask: Ask, *, model: str
) -> dict[str, DelegateFacts]:
    """Says of each delegate whether it works, what it is, and why not if it does not.

    Args:
        delegates: Those that matter; what LiteRT brings with it is there anyway.
        options: What the device's entry says of its delegates.
        ask: Asks the device's runner.
        model: The path on the device of a file that holds `probe_model`.
    """
    asked = (delegate for delegate in delegates if delegate not in BUILT_IN)
    return {**BUILT_IN, **{delegate.value: _probe(delegate, options, ask, model) for delegate in asked}}


def _probe(delegate: Delegate, options: DelegateOptions, ask: Ask, model: str) -> DelegateFacts:
    if delegate is Delegate.NNAPI:
        return DelegateFacts("it is a part of Android")
    if delegate is Delegate.EXTERNAL and delegate not in options:
        return DelegateFacts("the device's entry names no library (`delegates: {external: {library: ...}}`)")
    chosen = options.get(delegate, {})
    request = {
        "action": "probe_delegate",
        "model": model,
        "delegate": delegate.value,
        "delegate_options": dict(chosen),
        "num_threads": 1,
    }
    try:
        reply = ask(request, timeout_s=_TIMEOUT_S)
    except CandidateError as error:
        return DelegateFacts(f"its probe {error}")
    return DelegateFacts(implementation=_described(reply["implementation"], chosen), is_software=reply["is_software"])


def _described(implementation: str, options: Mapping[str, Any]) -> str:
    """What it is and how it is made to run: figures depend on both."""
    further = {name: value for name, value in options.items() if name != "library"}
    return f"{implementation} {json.dumps(further, sort_keys=True)}".strip() if further else implementation
