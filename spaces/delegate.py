"""Delegates: what executes the graph."""

from __future__ import annotations

from enum import StrEnum

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice
from litefront.spaces.quantization import Quantization

__all__ = ["DELEGATE", "Delegate", "delegate_that_runs"]


class Delegate(StrEnum):
    """What executes the graph; the values are the names in study files and bundles."""

    NONE = "none"
    XNNPACK = "xnnpack"


_WITHOUT_KERNELS: dict[Delegate, frozenset[Quantization]] = {
    # XNNPACK has no kernels for int16 activations: it delegates no node of such a graph, which then runs
    # on the built-in kernels, exactly as with no delegate (0 of 5 nodes delegated, ai-edge-litert 2.3).
    Delegate.XNNPACK: frozenset({Quantization.INT16X8}),
}


def delegate_that_runs(delegate: Delegate, quantization: Quantization) -> Delegate:
    """The delegate that would really execute such a graph: the one asked for, or none where it has no kernels."""
    if quantization in _WITHOUT_KERNELS.get(delegate, frozenset()):
        return Delegate.NONE
    return delegate


def _parse(value: object) -> Delegate:
    return checked_choice(value, Delegate, name="delegate")


def _refusal(_delegate: Delegate, _capabilities: Capabilities) -> str | None:
    return None


DELEGATE = Dimension("delegate", default=Delegate.XNNPACK, parse=_parse, refusal=_refusal)
