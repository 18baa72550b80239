"""Delegates: what executes the graph."""

from __future__ import annotations

from enum import StrEnum

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice
from litefront.spaces.quantization import Quantization

__all__ = ["DELEGATE", "Delegate", "delegate_that_runs", "threads_that_count"]


class Delegate(StrEnum):
    """What executes the graph; the values are the names in study files and bundles."""

    NONE = "none"
    """LiteRT's built-in kernels."""
    XNNPACK = "xnnpack"
    GPU = "gpu"
    NPU = "npu"
    """A vendor's dispatch library."""
    NNAPI = "nnapi"
    """Android's own, deprecated since Android 15."""
    EXTERNAL = "external"
    """A library that the device's entry in the study names."""


_WITHOUT_KERNELS: dict[Delegate, frozenset[Quantization]] = {
    # XNNPACK has no kernels for int16 activations: it delegates no node of such a graph, which then runs
    # on the built-in kernels, exactly as with no delegate (0 of 5 nodes delegated, ai-edge-litert 2.3).
    Delegate.XNNPACK: frozenset({Quantization.INT16X8}),
}

# What computes on a processor of its own, where threads of the host do nothing.
_OFF_THE_CORES = frozenset({Delegate.GPU, Delegate.NPU})


def delegate_that_runs(delegate: Delegate, quantization: Quantization) -> Delegate:
    """The delegate that would really execute such a graph: the one asked for, or none where it has no kernels."""
    if quantization in _WITHOUT_KERNELS.get(delegate, frozenset()):
        return Delegate.NONE
    return delegate


def threads_that_count(delegate: Delegate, num_threads: int) -> int:
    """The number of threads that stands for all that cannot differ from it: one where they do nothing."""
    return 1 if delegate in _OFF_THE_CORES else num_threads


def _parse(value: object) -> Delegate:
    return checked_choice(value, Delegate, name="delegate")


def _refusal(delegate: Delegate, capabilities: Capabilities) -> str | None:
    return capabilities.delegate_refusals.get(delegate)


DELEGATE = Dimension("delegate", default=Delegate.XNNPACK, parse=_parse, refusal=_refusal)
